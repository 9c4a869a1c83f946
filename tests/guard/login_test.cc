// Logins by secret: the vectors of the clouds' protocols, CONNECT packets as real SDKs sent them,
// and every way to be refused.
#include "guard/login.h"

#include <string>

#include <gtest/gtest.h>

#include "crypto/encoding.h"

namespace ota::guard {
namespace {

constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";
constexpr std::string_view kDecoy = "ffffffffffffffffffffffffffffffff";

Registry MakeRegistry() {
  Registry registry;
  registry.SetDialects({{"a1TestPK01", "alibaba"}, {"pkA1", "enos"}, {"pump", "native"}});
  for (const char* name : {"dev001", "dev003", "dev004"}) {
    registry.Put("a1TestPK01", name, {kSecret, "", false});
  }
  registry.Put("a1TestPK01", "off", {kSecret, "", true});
  registry.Put("a1TestPK01", "bare", {"", "", false});
  for (const char* name : {"dkB2", "dkJ2"}) {
    registry.Put("pkA1", name, {kSecret, "", false});
  }
  registry.Put("pump", "p1", {kSecret, "", false});
  registry.Put("pump", "bare", {"", "", false});
  registry.Put("pump", "off", {kSecret, "", true});
  return registry;
}

LoginVerdict Check(std::string_view user, std::string_view client_id, std::string_view password,
                   const LoginRules& rules = {{"pump"}, false}) {
  static const Registry registry = MakeRegistry();
  Credentials credentials{user, client_id, password, std::nullopt};
  const std::size_t sign = user.find('&');
  const std::size_t slash = user.find('/');
  if (sign != std::string_view::npos) {
    credentials.device =
        core::DeviceKey{std::string(user.substr(sign + 1)), std::string(user.substr(0, sign))};
  } else if (slash != std::string_view::npos) {
    credentials.device =
        core::DeviceKey{std::string(user.substr(0, slash)), std::string(user.substr(slash + 1))};
  }
  return CheckLogin(&registry, rules, kDecoy, credentials);
}

std::string Reason(const LoginVerdict& verdict) {
  EXPECT_EQ(verdict.login, Login::kRefuse);
  EXPECT_EQ(verdict.reason.find(kSecret), std::string::npos);
  return verdict.reason;
}

const std::string kUser = "dev001&a1TestPK01";

TEST(AlibabaLogin, TheVectorsOfTheProtocolAreAccepted) {
  const std::string id = "a1TestPK01.dev001|securemode=3,timestamp=2524608000000";
  struct Vector {
    std::string client_id;
    const char* password;
  };
  for (const Vector& vector :
       {Vector{id + ",signmethod=hmacsha256|",
               "9394E96744C15B0A91D31C10767FBF9F91B3E6625F6AE77441CD1B552818AC67"},
        Vector{id + ",signmethod=hmacsha1|", "05155a7aff978901c8adc2a88b6ab93c47200d01"},
        Vector{id + ",signmethod=hmacmd5|", "925d5d83c97cedddc632afbef712bd24"},
        Vector{"mac123|securemode=2,signmethod=hmacmd5|", "29ce1d1b2940a2ac067f62063ef35907"},
        Vector{"mac123|securemode=2|", "29ce1d1b2940a2ac067f62063ef35907"},  // MD5 by default
        Vector{"mac123||", "29CE1D1B2940A2AC067F62063EF35907"}}) {
    const LoginVerdict verdict = Check(kUser, vector.client_id, vector.password);
    EXPECT_EQ(verdict.login, Login::kAccept) << vector.client_id << ": " << verdict.reason;
    EXPECT_TRUE(verdict.by_signature);
    EXPECT_EQ(verdict.device, "a1TestPK01/dev001");
  }
}

TEST(AlibabaLogin, WhatRealSdksSendIsAccepted) {
  struct Recorded {
    const char* user;
    const char* client_id;
    const char* password;
  };
  for (const Recorded& one :
       {Recorded{"dev001&a1TestPK01",
                 "a1TestPK01.dev001|timestamp=2524608000000,_ss=1,_v=sdk-c-4.2.0,securemode=3,"
                 "signmethod=hmacsha256,ext=3,_conn=tcp_1|",
                 "9394E96744C15B0A91D31C10767FBF9F91B3E6625F6AE77441CD1B552818AC67"},
        Recorded{"dev003&a1TestPK01",
                 "a1TestPK01.dev003|timestamp=2524608000000,_v=sdk-c-3.0.1,securemode=3,"
                 "signmethod=hmacsha256,lan=C,gw=0,ext=0|",
                 "8E2DEEC61DB5906D7802E33EBD35A0685A29095440FE1A5675C43EC1B64FD118"},
        Recorded{"dev004&a1TestPK01",
                 "a1TestPK01&dev004|securemode=3,signmethod=hmacsha1,timestamp=1795220252581,"
                 "lan=NodeJS,_v=1.2.8|",
                 "2d7c87982b600d3c38f0c924c6186992a440279c"}}) {
    const LoginVerdict verdict = Check(one.user, one.client_id, one.password);
    EXPECT_EQ(verdict.login, Login::kAccept) << one.client_id << ": " << verdict.reason;
  }
}

TEST(AlibabaLogin, AnythingElseSignedIsRefused) {
  const std::string good = "29ce1d1b2940a2ac067f62063ef35907";
  EXPECT_EQ(Reason(Check(kUser, "mac123||", "29ce1d1b2940a2ac067f62063ef35908")),
            "the password is wrong");
  for (const char* password : {"", "29ce1d1b2940a2ac067f62063ef3590", "\xff"}) {
    EXPECT_EQ(Reason(Check(kUser, "mac123||", password)), "the password is wrong");
  }
  EXPECT_EQ(Reason(Check(kUser, "mac124||", good)), "the password is wrong");
  EXPECT_EQ(Reason(Check(kUser, "mac123|timestamp=1|", good)), "the password is wrong");
  EXPECT_EQ(Reason(Check(kUser, "mac123||", kSecret)), "the password is wrong");
  EXPECT_EQ(Reason(Check("dev003&a1TestPK01", "mac123||", good)), "the password is wrong");
  EXPECT_EQ(Reason(Check("nobody&a1TestPK01", "mac123||", good)), "there is no such device");
  EXPECT_EQ(Reason(Check("dev001&other", "mac123||", good)), "there is no such device");
  EXPECT_EQ(Reason(Check("bare&a1TestPK01", "mac123||", good)), "it has no secret here");
  EXPECT_EQ(Reason(Check("p1&pump", "mac123||", good)),
            "its product's dialect is 'native', which signs no login");
}

// What a device without a secret could be proved with must prove nothing.
TEST(AlibabaLogin, TheDecoyIsNobodysSecret) {
  const std::string content =
      "clientIdx"
      "deviceNamenobodyproductKeya1TestPK01";
  const std::string password = crypto::Hex(*crypto::Hmac(crypto::Hash::kMd5, kDecoy, content));
  EXPECT_EQ(Check("nobody&a1TestPK01", "x||", password).login, Login::kRefuse);
  const std::string bare =
      "clientIdx"
      "deviceNamebareproductKeya1TestPK01";
  EXPECT_EQ(
      Check("bare&a1TestPK01", "x||", crypto::Hex(*crypto::Hmac(crypto::Hash::kMd5, kDecoy, bare)))
          .login,
      Login::kRefuse);
  EXPECT_EQ(Check("pump/nobody", "x", kDecoy).login, Login::kRefuse);
  EXPECT_EQ(Check("pump/bare", "x", kDecoy).login, Login::kRefuse);
}

TEST(AlibabaLogin, AMalformedClientIdIsRefused) {
  for (const auto& [client_id, reason] : std::initializer_list<std::pair<const char*, const char*>>{
           {"mac123|", "its client id is not ID|key=value,...|"},
           {"mac123|securemode=3", "its client id is not ID|key=value,...|"},
           {"mac123|securemode=3|x", "its client id is not ID|key=value,...|"},
           {"mac|123|securemode=3|", "its client id is not ID|key=value,...|"},
           {"mac123|timestamp=1,timestamp=2|", "its client id names two timestamps"},
           {"mac123|signmethod=hmacmd5,signmethod=hmacmd5|",
            "its client id names two sign methods"},
           {"mac123|signmethod=hmacsm3|", "its client id names an unknown sign method"},
           {"mac123|signmethod=|", "its client id names an unknown sign method"},
           {"a.b|authType=register,securemode=2,random=1,signmethod=hmacsha256|",
            "it asks for dynamic registration, which is not served"}}) {
    EXPECT_EQ(Reason(Check(kUser, client_id, "x")), reason) << client_id;
  }
  EXPECT_EQ(Reason(Check(kUser, std::string(1025, 'a') + "||", "x")), "its client id is too long");
  EXPECT_EQ(Reason(Check(kUser, "mac123||", std::string(257, 'a'))), "the password is too long");
  EXPECT_EQ(Reason(Check("a/b&a1TestPK01", "mac123||", "x")),
            "its user name is not DEVICE&PRODUCT");
  EXPECT_EQ(Reason(Check("&", "mac123||", "x")), "its user name is not DEVICE&PRODUCT");
  // A device of such a product that does not even try.
  EXPECT_EQ(Reason(Check(kUser, "mac123", "x")), "its client id is not ID|key=value,...|");
}

TEST(AlibabaLogin, UnknownKeysAndTheirOrderDoNotMatter) {
  for (const char* client_id :
       {"mac123|a=b,=,c,,securemode=-2,instanceId=x y,securemode=3|", "mac123|,|", "mac123|_v|"}) {
    EXPECT_EQ(Check(kUser, client_id, "29ce1d1b2940a2ac067f62063ef35907").login, Login::kAccept)
        << client_id;
  }
}

TEST(AlibabaLogin, OfADisabledDeviceIsRefusedAndAWrongOneIsCalledWrong) {
  const std::string password = crypto::Hex(
      *crypto::Hmac(crypto::Hash::kMd5, kSecret, "clientIdxdeviceNameoffproductKeya1TestPK01"));
  EXPECT_EQ(Reason(Check("off&a1TestPK01", "x||", password)), "it is disabled");
  EXPECT_EQ(Reason(Check("off&a1TestPK01", "x||", "0")), "the password is wrong");
}

// The name that is proved and the name that the guard goes by must be one.
TEST(SignedLogin, WithoutAnIdentityRuleThatAgreesIsRefused) {
  const Registry registry = MakeRegistry();
  Credentials credentials{kUser, "mac123||", "29ce1d1b2940a2ac067f62063ef35907", std::nullopt};
  EXPECT_NE(Reason(CheckLogin(&registry, {}, kDecoy, credentials)).find("plugin_opt_identity"),
            std::string::npos);
  credentials.device = core::DeviceKey{"a1TestPK01", "dev003"};
  EXPECT_NE(Reason(CheckLogin(&registry, {}, kDecoy, credentials)).find("plugin_opt_identity"),
            std::string::npos);
  credentials.device = core::DeviceKey{"a1TestPK01", "dev001"};
  EXPECT_EQ(CheckLogin(&registry, {}, kDecoy, credentials).login, Login::kAccept);
}

std::string EnosPassword(crypto::Hash hash, const std::string& id, const std::string& device,
                         const std::string& timestamp) {
  return crypto::Hex(*crypto::Digest(hash, "clientId" + id + "deviceKey" + device +
                                               "productKeypkA1timestamp" + timestamp +
                                               std::string(kSecret)));
}

TEST(EnosLogin, ClientIdsAsTheSdksSendThemAreAccepted) {
  const std::string java =
      "dkJ2{ip=127.0.0.1,version=@project.artifactId@-@project.version@,compress=DEFAULT}";
  EXPECT_EQ(
      Check("dkB2&pkA1", "dkB2|securemode=2,signmethod=hmacsha256,timestamp=1795219243985.3406|",
            EnosPassword(crypto::Hash::kSha256, "dkB2", "dkB2", "1795219243985.3406"))
          .login,
      Login::kAccept);
  EXPECT_EQ(Check("dkJ2&pkA1", java + "|securemode=2,signmethod=sha256,timestamp=1795219486981|",
                  EnosPassword(crypto::Hash::kSha256, java, "dkJ2", "1795219486981"))
                .login,
            Login::kAccept);
}

TEST(EnosLogin, EveryMethodHasTwoNames) {
  for (const auto& [name, hash] : std::initializer_list<std::pair<const char*, crypto::Hash>>{
           {"sha256", crypto::Hash::kSha256},
           {"hmacsha256", crypto::Hash::kSha256},
           {"sha1", crypto::Hash::kSha1},
           {"hmacSha1", crypto::Hash::kSha1},
           {"md5", crypto::Hash::kMd5},
           {"HMACMD5", crypto::Hash::kMd5}}) {
    EXPECT_EQ(Check("dkB2&pkA1", std::string("c|signmethod=") + name + ",timestamp=7|",
                    EnosPassword(hash, "c", "dkB2", "7"))
                  .login,
              Login::kAccept)
        << name;
  }
}

TEST(EnosLogin, WhatItCannotCarryIsRefused) {
  const std::string zip = "dkJ2{ip=127.0.0.1,compress=GZIP}";
  EXPECT_EQ(Reason(Check("dkJ2&pkA1", zip + "|signmethod=sha256,timestamp=1|",
                         EnosPassword(crypto::Hash::kSha256, zip, "dkJ2", "1"))),
            "it compresses its payloads, which is not served");
  EXPECT_EQ(Reason(Check("dkJ2&pkA1", "c|signmethod=md5|",
                         EnosPassword(crypto::Hash::kMd5, "c", "dkJ2", ""))),
            "its client id lacks timestamp or sign method");
  EXPECT_EQ(Reason(Check("dkJ2&pkA1", "c|timestamp=1|",
                         EnosPassword(crypto::Hash::kMd5, "c", "dkJ2", "1"))),
            "its client id lacks timestamp or sign method");
  // An HMAC over the same is Alibaba's way, not EnOS's.
  EXPECT_EQ(
      Reason(Check("dkJ2&pkA1", "c|signmethod=hmacsha256,timestamp=1|",
                   crypto::Hex(*crypto::Hmac(crypto::Hash::kSha256, kSecret,
                                             "clientIdcdeviceNamedkJ2productKeypkA1timestamp1")))),
      "the password is wrong");
}

TEST(PasswordLogin, IsOfTheProductsThatTheConfigurationNames) {
  EXPECT_EQ(Check("pump/p1", "any", kSecret).login, Login::kAccept);
  EXPECT_FALSE(Check("pump/p1", "any", kSecret).by_signature);
  EXPECT_EQ(Reason(Check("pump/p1", "any", "wrong")), "the password is wrong");
  EXPECT_EQ(Reason(Check("pump/p1", "any", "")), "the password is wrong");
  EXPECT_EQ(Reason(Check("pump/nobody", "any", kSecret)), "there is no such device");
  EXPECT_EQ(Reason(Check("pump/bare", "any", "")), "it has no secret here");
  EXPECT_EQ(Reason(Check("pump/off", "any", kSecret)), "it is disabled");
  EXPECT_EQ(Reason(Check("pump/off", "any", "wrong")), "the password is wrong");
  EXPECT_EQ(Check("pump/p1", "any", "wrong", {}).login, Login::kOther);
}

TEST(Login, OfAnybodyElseIsLeftToOthers) {
  EXPECT_EQ(Check("alice", "any", "x").login, Login::kOther);
  EXPECT_EQ(Check("", "", "").login, Login::kOther);
  EXPECT_EQ(Check("valve/v1", "any", "x").login, Login::kOther);
  EXPECT_EQ(Check("alice", "a|b|", std::string(5000, 'x')).login, Login::kOther);
}

TEST(Login, BeforeTheRegistryIsLoadedNobodyComesInWhoWouldHaveToProveIt) {
  const auto check = [](std::string_view user, std::string_view client_id,
                        std::optional<core::DeviceKey> device, bool allow_other) {
    return CheckLogin(nullptr, {{"pump"}, allow_other}, kDecoy,
                      {user, client_id, "x", std::move(device)})
        .login;
  };
  const core::DeviceKey pump{"pump", "p1"};
  const core::DeviceKey other{"valve", "v1"};
  EXPECT_EQ(check(kUser, "mac123||", std::nullopt, false), Login::kRetry);
  EXPECT_EQ(check("pump/p1", "x", pump, false), Login::kRetry);
  EXPECT_EQ(check("valve/v1", "x", other, false), Login::kOther);  // the password file decides
  EXPECT_EQ(check("valve/v1", "x", other, true), Login::kRetry);
  EXPECT_EQ(check("alice", "x", std::nullopt, true), Login::kOther);
}

TEST(Registry, FindsWhatWasPutAndNothingElse) {
  Registry registry;
  for (int i = 0; i < 5000; ++i) {
    const std::string name = "d" + std::to_string(i);
    registry.Put("pump", name, {"secret of " + name, i % 2 == 0 ? "gate/g1" : "", i % 3 == 0});
  }
  EXPECT_EQ(registry.size(), 5000u);
  for (int i = 0; i < 5000; ++i) {
    const std::string name = "d" + std::to_string(i);
    const auto device = registry.Find("pump", name);
    ASSERT_TRUE(device);
    EXPECT_EQ(device->secret, "secret of " + name);
    EXPECT_EQ(device->disabled, i % 3 == 0);
    EXPECT_EQ(registry.IsBehind("pump", name, {"gate", "g1"}), i % 2 == 0);
    EXPECT_FALSE(registry.IsBehind("pump", name, {"gate", "g"}));
    EXPECT_FALSE(registry.IsBehind("pump", name, {"gat", "eg1"}));
  }
  EXPECT_FALSE(registry.Find("pump", "d5000"));
  EXPECT_FALSE(registry.Find("pum", "pd1"));
  EXPECT_FALSE(registry.Find("", ""));
  EXPECT_FALSE(Registry().Find("pump", "d1"));
}

TEST(Registry, ACopyChangesAloneAndKeepsTheRest) {
  Registry first;
  first.Put("pump", "p1", {"one", "", false});
  first.Put("pump", "p2", {"two", "", false});
  Registry second = first;
  second.Put("pump", "p1", {"changed", "", true});
  second.Remove("pump", "p2");
  second.Remove("pump", "p3");
  second.Put("pump", "p4", {"four", "", false});
  EXPECT_EQ(first.Find("pump", "p1")->secret, "one");
  EXPECT_TRUE(first.Find("pump", "p2"));
  EXPECT_FALSE(first.Find("pump", "p4"));
  EXPECT_EQ(second.Find("pump", "p1")->secret, "changed");
  EXPECT_TRUE(second.Find("pump", "p1")->disabled);
  EXPECT_FALSE(second.Find("pump", "p2"));
  EXPECT_EQ(second.size(), 2u);
}

}  // namespace
}  // namespace ota::guard
