// Where things lie unless the configuration or an option says otherwise; the plugin and otactl must
// agree on them. Values only.
#pragma once

namespace ota::core {

inline constexpr char kDatabasePath[] = "/var/lib/mosquitto/ota/ota.db";
// Beside the database.
inline constexpr char kPackagesName[] = "packages";
inline constexpr char kTokenKeyName[] = "token.key";
inline constexpr char kSecretKeyName[] = "secret.key";

}  // namespace ota::core
