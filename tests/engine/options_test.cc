// The options: every row of the table, every rule, and the example that documents them.
#include "engine/options.h"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace ota::engine {
namespace {

using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

Options Parsed(const Pairs& pairs) {
  auto options = ParseOptions(pairs);
  EXPECT_TRUE(options.has_value()) << options.error().message;
  return options.value_or(Options{});
}

std::string Refused(const Pairs& pairs) {
  const auto options = ParseOptions(pairs);
  return options ? "accepted" : options.error().message;
}

struct Documented {
  std::string name;
  std::string value;
  std::string comment;  // the lines above, joined
};

// The lines `#plugin_opt_NAME VALUE` of mosquitto.conf.example with the comment above each.
std::vector<Documented> Example() {
  constexpr std::string_view kOption = "#plugin_opt_";
  std::ifstream file(std::string(OTA_SOURCE_DIR) + "/mosquitto.conf.example");
  EXPECT_TRUE(file.is_open());
  std::vector<Documented> options;
  std::string comment;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kOption)) {
      const std::size_t space = line.find(' ');
      options.push_back({line.substr(kOption.size(), space - kOption.size()),
                         line.substr(space + 1), std::exchange(comment, "")});
    } else if (line.starts_with("# ") || line == "#") {
      comment += line.substr(1);
    } else {
      comment.clear();
    }
  }
  return options;
}

TEST(Options, DefaultsAreThoseOfTheTable) {
  const Options options = Parsed({});
  EXPECT_EQ(options.database, "/var/lib/mosquitto/ota/ota.db");
  EXPECT_EQ(options.packages, "/var/lib/mosquitto/ota/packages");
  EXPECT_EQ(options.token_key, "/var/lib/mosquitto/ota/token.key");
  EXPECT_EQ(options.identity, std::vector<std::string>{"username {product}/{device}"});
  EXPECT_FALSE(options.download_base.has_value());
  EXPECT_FALSE(options.download_listen.has_value());
  EXPECT_EQ(options.download_connections, 64);
  EXPECT_EQ(options.download_bytes_per_second, 0);
  EXPECT_EQ(options.block_bytes_per_second, 33'554'432);
  EXPECT_EQ(options.block_bytes_per_device, 2'097'152);
  EXPECT_EQ(options.download_lifetime, 86400);
  EXPECT_TRUE(options.administrators.empty());
  EXPECT_TRUE(options.bridges.empty());
  EXPECT_EQ(options.guard, GuardMode::kEnforce);
  EXPECT_EQ(options.acl_other, AclOther::kDefer);
  EXPECT_EQ(options.on_database_fault, OnDatabaseFault::kServe);
  EXPECT_EQ(options.durability, Durability::kFull);
  EXPECT_EQ(options.wake, WakeMode::kSignal);
}

TEST(Options, EveryOptionIsRead) {
  const Options options = Parsed({{"database", "/srv/a/ota.db"},
                                  {"packages", "/srv/p"},
                                  {"token_key", "/srv/k"},
                                  {"identity", "clientid {device} product=meter"},
                                  {"identity", "cn {device} product=pump"},
                                  {"administrators", "alice  bob"},
                                  {"administrators", "carol"},
                                  {"bridges", "b.one"},
                                  {"guard", "report"},
                                  {"acl_other", "allow"},
                                  {"download_base", "https://ota.example/f/"},
                                  {"download_listen", "127.0.0.1:80"},
                                  {"download_connections", "10000"},
                                  {"download_bytes_per_second", "100000000000"},
                                  {"block_bytes_per_second", "100000000000"},
                                  {"block_bytes_per_device", "0"},
                                  {"download_lifetime", "60"},
                                  {"on_database_fault", "stop"},
                                  {"durability", "normal"},
                                  {"wake", "tick"}});
  EXPECT_EQ(options.database, "/srv/a/ota.db");
  EXPECT_EQ(options.packages, "/srv/p");
  EXPECT_EQ(options.token_key, "/srv/k");
  EXPECT_EQ(options.identity, (std::vector<std::string>{"clientid {device} product=meter",
                                                        "cn {device} product=pump"}));
  EXPECT_EQ(options.administrators, (std::vector<std::string>{"alice", "bob", "carol"}));
  EXPECT_EQ(options.bridges, std::vector<std::string>{"b.one"});
  EXPECT_EQ(options.guard, GuardMode::kReport);
  EXPECT_EQ(options.acl_other, AclOther::kAllow);
  EXPECT_EQ(options.download_base, "https://ota.example/f");
  ASSERT_TRUE(options.download_listen.has_value());
  EXPECT_EQ(options.download_listen->address, "127.0.0.1");
  EXPECT_EQ(options.download_listen->port, 80);
  EXPECT_EQ(options.download_connections, 10000);
  EXPECT_EQ(options.download_bytes_per_second, 100'000'000'000);
  EXPECT_EQ(options.block_bytes_per_second, 100'000'000'000);
  EXPECT_EQ(options.block_bytes_per_device, 0);
  EXPECT_EQ(options.download_lifetime, 60);
  EXPECT_EQ(options.on_database_fault, OnDatabaseFault::kStop);
  EXPECT_EQ(options.durability, Durability::kNormal);
  EXPECT_EQ(options.wake, WakeMode::kTick);
}

TEST(Options, PackagesAndKeyLieBesideTheDatabase) {
  const Options options = Parsed({{"database", "/srv/x.db"}});
  EXPECT_EQ(options.packages, "/srv/packages");
  EXPECT_EQ(options.token_key, "/srv/token.key");
  EXPECT_EQ(options.secret_key, "/srv/secret.key");
}

TEST(Options, NobodyLogsInBySecretUnlessItIsSaid) {
  EXPECT_EQ(Parsed({}).login, LoginMode::kOff);
  const Options options =
      Parsed({{"login", "allow"}, {"login_password", "pump meter"}, {"login_password", "valve"}});
  EXPECT_EQ(options.login, LoginMode::kAllow);
  EXPECT_EQ(options.login_password, (std::vector<std::string>{"pump", "meter", "valve"}));
  EXPECT_EQ(Parsed({{"login", "defer"}}).login, LoginMode::kDefer);
}

TEST(Options, AnAddressInBracketsIsIpv6) {
  const Options options =
      Parsed({{"download_base", "http://h"}, {"download_listen", "[::1]:8070"}});
  ASSERT_TRUE(options.download_listen.has_value());
  EXPECT_EQ(options.download_listen->address, "::1");
}

TEST(Options, BadValuesAreRefusedByNameValueAndRule) {
  const std::vector<std::pair<std::string_view, std::vector<std::string_view>>> bad = {
      {"database", {"", "ota.db", "./ota.db", "/srv/", "/", "/a\nb"}},
      {"packages", {"", "packages"}},
      {"token_key", {"", "key"}},
      {"identity", {""}},
      {"administrators", {"", "  "}},
      {"bridges", {"", "\t"}},
      {"login", {"", "on", "only", "Allow", "defer "}},
      {"login_password", {"", " "}},
      {"secret_key", {"", "key", "./key"}},
      {"guard", {"", "Enforce", "enforce ", "off"}},
      {"acl_other", {"", "deny"}},
      {"download_base",
       {"", "ftp://h", "http://", "http:///x", "h:80", "http://h h", "http://h?x", "http://h#x",
        "http://\xc3\xa4", "http://h\"x"}},
      {"download_listen",
       {"", "8070", ":8070", "localhost:8070", "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0:", "::1:80",
        "[127.0.0.1]:80", "[::1]", "1.2.3:80"}},
      {"download_connections", {"", "0", "10001", "-1", "1.5", "0x10", " 1", "1 ", "many"}},
      {"block_bytes_per_second", {"", "-1", "100000000001", "1k"}},
      {"block_bytes_per_device", {"", "-1", "100000000001", "1k"}},
      {"download_bytes_per_second", {"", "-1", "100000000001", "1k", "99999999999999999999"}},
      {"download_lifetime", {"", "59", "31536001", "1h"}},
      {"on_database_fault", {"", "ignore"}},
      {"durability", {"", "off"}},
      {"wake", {"", "eventfd"}},
  };
  EXPECT_EQ(bad.size(), OptionTable().size());
  for (const auto& [name, values] : bad) {
    for (const std::string_view value : values) {
      const std::string message = Refused({{name, value}});
      EXPECT_TRUE(message.starts_with("plugin_opt_" + std::string(name) + " '" +
                                      std::string(value) + "': must be "))
          << message;
    }
  }
}

TEST(Options, ABaseThatLeavesNoRoomForAnAddressIsRefused) {
  const std::string longest = "http://" + std::string(120, 'h');
  EXPECT_EQ(Refused({{"download_base", longest}}), "accepted");
  EXPECT_NE(Refused({{"download_base", longest + "h"}}), "accepted");
}

TEST(Options, AnUnknownOptionIsRefused) {
  EXPECT_EQ(Refused({{"databse", "/x"}}), "plugin_opt_databse: there is no such option");
}

TEST(Options, OnlyRepeatableOptionsMayBeGivenTwice) {
  for (const Option& option : OptionTable()) {
    const std::string_view value = option.name == "download_base"     ? "http://h"
                                   : option.name == "download_listen" ? "0.0.0.0:1"
                                   : option.default_value.empty()     ? "x"
                                                                      : option.default_value;
    Pairs pairs{{option.name, value}, {option.name, value}};
    if (option.name == "download_listen") {
      pairs.insert(pairs.begin(), {"download_base", "http://h"});
    }
    EXPECT_EQ(Refused(pairs), option.repeatable
                                  ? "accepted"
                                  : "plugin_opt_" + std::string(option.name) + " is given twice");
  }
}

TEST(Options, AServerNeedsItsBase) {
  EXPECT_EQ(Refused({{"download_listen", "0.0.0.0:8070"}}),
            "plugin_opt_download_listen: plugin_opt_download_base must say how devices reach it");
}

TEST(Options, ListenersShareAServiceWhenOnlyTheirGuardsDiffer) {
  const Options one = Parsed({});
  EXPECT_TRUE(SameService(one, Parsed({{"identity", "clientid {device} product=a"},
                                       {"administrators", "alice"},
                                       {"bridges", "b"},
                                       {"guard", "report"},
                                       {"login", "defer"},
                                       {"login_password", "pump"},
                                       {"acl_other", "allow"}})));
  EXPECT_FALSE(SameService(one, Parsed({{"secret_key", "/srv/x.key"}})));
  EXPECT_FALSE(SameService(one, Parsed({{"database", "/srv/x.db"}})));
  EXPECT_FALSE(SameService(one, Parsed({{"durability", "normal"}})));
}

TEST(Example, DocumentsExactlyTheOptionsOfTheTableWithTheirDefaults) {
  const std::vector<Documented> example = Example();
  std::vector<std::string> names;
  for (const Documented& option : example) {
    names.push_back(option.name);
  }
  ASSERT_EQ(names.size(), OptionTable().size()) << testing::PrintToString(names);
  for (std::size_t i = 0; i < example.size(); ++i) {
    const Option& row = OptionTable()[i];
    EXPECT_EQ(example[i].name, row.name);
    EXPECT_GT(example[i].comment.size(), 40u) << row.name;
    if (row.default_value.empty()) {
      EXPECT_NE(example[i].comment.find("No default"), std::string::npos) << row.name;
    } else {
      EXPECT_EQ(example[i].value, row.default_value) << row.name;
    }
    const bool said = example[i].comment.find("ay be given several times") != std::string::npos;
    EXPECT_EQ(said, row.repeatable) << row.name;
  }
}

TEST(Example, ParsesWithEveryOptionUncommented) {
  const std::vector<Documented> example = Example();
  Pairs pairs;
  for (const Documented& option : example) {
    pairs.emplace_back(option.name, option.value);
  }
  EXPECT_EQ(Refused(pairs), "accepted");
}

}  // namespace
}  // namespace ota::engine
