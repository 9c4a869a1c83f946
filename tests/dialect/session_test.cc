// EnOS's gateways: topics, requests and replies of their sub-devices' logins.
#include "dialect/session.h"

#include <string>

#include <gtest/gtest.h>

namespace ota::dialect {
namespace {

TEST(Session, TopicsAreThoseOfOneGateway) {
  const auto login = ParseSession("/ext/session/pkG/dkG/combine/login");
  ASSERT_TRUE(login);
  EXPECT_EQ(login->product, "pkG");
  EXPECT_EQ(login->device, "dkG");
  EXPECT_EQ(login->act, SessionAct::kLogin);
  EXPECT_FALSE(login->reply);
  EXPECT_EQ(ParseSession("/ext/session/pkG/dkG/combine/login/batch")->act, SessionAct::kLoginBatch);
  EXPECT_TRUE(ParseSession("/ext/session/pkG/dkG/combine/login/batch_reply")->reply);
  EXPECT_EQ(ParseSession("/ext/session/pkG/dkG/combine/logout_reply")->act, SessionAct::kLogout);
  for (const char* other :
       {"", "/ext/session/", "/ext/session/p", "/ext/session/p/d", "/ext/session/p/d/",
        "/ext/session//d/combine/login", "/ext/session/p//combine/login", "/ext/session/p/d/_reply",
        "/ext/session/p/d/combine/login/", "/ext/session/p/d/combine/login_reply_reply",
        "/ext/session/p/d/combine/enable", "/ext/session/+/d/combine/login",
        "/ext/session/p/d/combine/#", "ext/session/p/d/combine/login",
        "/ext/session/p/d/x/combine/login"}) {
    EXPECT_FALSE(ParseSession(other)) << other;
  }
}

// As the Python SDK sends it: cleanSession is text.
TEST(Session, ALoginIsDecoded) {
  const auto request = DecodeSession(
      SessionAct::kLogin,
      R"({"id": "4", "version": "1.0", "method": "combine.login", "params": {"productKey": "pk", )"
      R"("deviceKey": "dk", "clientId": "dk", "timestamp": "1564988853275", "signMethod": "sha256", )"
      R"("sign": "ab12", "secureMode": "2", "cleanSession": "False"}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->id, "4");
  ASSERT_EQ(request->devices.size(), 1u);
  EXPECT_EQ(request->devices[0].client_id, "dk");
  EXPECT_EQ(request->devices[0].timestamp, "1564988853275");
  EXPECT_EQ(request->devices[0].sign_method, "sha256");
  EXPECT_EQ(request->devices[0].key, (core::DeviceKey{"pk", "dk"}));
  EXPECT_EQ(request->devices[0].sign, "ab12");
}

// They are signed as they stand; Python's clock gives fractions.
TEST(Session, NumbersAreTakenAsTheirText) {
  const auto request = DecodeSession(
      SessionAct::kLogin,
      R"({"id":4,"params":{"productKey":"pk","deviceKey":"dk","clientId":"c","timestamp":1564988853275.3406,)"
      R"("signMethod":"md5","sign":"ab",}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->id, "4");
  EXPECT_EQ(request->devices[0].timestamp, "1564988853275.3406");
}

TEST(Session, ATopologyIsToldInAnArrayEachDeviceWithItsSignature) {
  const auto topic = ParseSession("/sys/pkG/dkG/thing/topo/add");
  ASSERT_TRUE(topic);
  EXPECT_EQ(topic->act, SessionAct::kTopoAdd);
  EXPECT_TRUE(ParseSession("/sys/pkG/dkG/thing/topo/get_reply")->reply);
  EXPECT_FALSE(ParseSession("/sys/pkG/dkG/combine/login"));
  EXPECT_FALSE(ParseSession("/ext/session/pkG/dkG/thing/topo/add"));
  // `signmethod`, as the vendor's document and SDK for C have it here.
  const auto request = DecodeSession(
      SessionAct::kTopoAdd,
      R"({"id":"1","version":"1.0","params":[{"productKey":"pk","deviceKey":"d1","signmethod":"hmacsha256",)"
      R"("sign":"ab","timestamp":"7","clientId":"pk.d1"},{"productKey":"pk","deviceKey":"d2",)"
      R"("signMethod":"sha1","sign":"cd","timestamp":"8","clientId":"c"}],"method":"thing.topo.add"})");
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->devices.size(), 2u);
  EXPECT_EQ(request->devices[0].sign_method, "hmacsha256");
  EXPECT_EQ(request->devices[0].client_id, "pk.d1");
  EXPECT_EQ(request->devices[1].sign_method, "sha1");
  EXPECT_EQ(request->devices[1].timestamp, "8");
  const auto unbind = DecodeSession(
      SessionAct::kTopoDelete, R"({"id":"2","params":[{"productKey":"pk","deviceKey":"d1"}]})");
  ASSERT_TRUE(unbind);
  EXPECT_EQ(unbind->devices.front().key, (core::DeviceKey{"pk", "d1"}));
  EXPECT_TRUE(DecodeSession(SessionAct::kTopoGet, R"({"id":"3","params":{}})")->devices.empty());
  for (const char* bad : {R"({"params":[]})", R"({"params":7})", R"({})", R"({"params":[7]})",
                          R"({"params":[{"productKey":"pk","deviceKey":"d1"}]})"}) {
    EXPECT_FALSE(DecodeSession(SessionAct::kTopoAdd, bad)) << bad;
  }
  EXPECT_EQ(EncodeSession(*topic, "1", {{SubResult{{"pk", "d1"}, SessionCode::kOk}}}).payload,
            R"({"id":"1","code":200,"data":{},"message":""})");
  const SubResult both[] = {{{"pk", "d1"}, SessionCode::kOk},
                            {{"pk", "d2"}, SessionCode::kWrongSign}};
  EXPECT_EQ(EncodeSession(*topic, "1", both).payload,
            R"({"id":"1","code":742,"data":{},"message":"pk&d2: Sign check failed"})");
  const Encoded list = EncodeSession(*ParseSession("/sys/pkG/dkG/thing/topo/get"), "3", both);
  EXPECT_TRUE(list.addressed);  // the SDK for Python does not subscribe again
  EXPECT_EQ(list.topic, "/sys/pkG/dkG/thing/topo/get_reply");
  EXPECT_EQ(list.payload, R"({"id":"3","code":200,"data":[{"productKey":"pk","deviceKey":"d1"},)"
                          R"({"productKey":"pk","deviceKey":"d2"}],"message":""})");
}

// Alibaba's gateways: another word, lists of their own, a message.
TEST(Session, AlibabasGatewaysNameDevicesOtherwise) {
  SessionTopic topic = *ParseSession("/ext/session/P/G/combine/batch_login");
  EXPECT_EQ(topic.act, SessionAct::kLoginList);
  topic.word = "deviceName";
  const auto request = DecodeSession(
      topic.act,
      R"({"id":"1","params":{"deviceList":[{"productKey":"P","deviceName":"s1","clientId":"P.s1",)"
      R"("timestamp":"2524608000000","signMethod":"hmacSha256","sign":"AB","cleanSession":"false"},)"
      R"({"productKey":"P","deviceName":"s2","clientId":"c","timestamp":7,"signMethod":"hmacMd5","sign":"CD"}]}})");
  ASSERT_TRUE(request) << request.error().message;
  ASSERT_EQ(request->devices.size(), 2u);
  EXPECT_EQ(request->devices[1].key, (core::DeviceKey{"P", "s2"}));
  EXPECT_EQ(request->devices[1].client_id, "c");
  EXPECT_EQ(request->devices[1].timestamp, "7");
  const SubResult good[] = {{{"P", "s1"}, SessionCode::kOk}, {{"P", "s2"}, SessionCode::kOk}};
  EXPECT_EQ(EncodeSession(topic, "1", good).payload,
            R"({"id":"1","code":200,"data":[{"productKey":"P","deviceName":"s1"},)"
            R"({"productKey":"P","deviceName":"s2"}],"message":"success"})");
  const SubResult bad[] = {{{"P", "s1"}, SessionCode::kOk}, {{"P", "s2"}, SessionCode::kWrongSign}};
  EXPECT_EQ(EncodeSession(topic, "1", bad).payload,
            R"({"id":"1","code":742,"data":[{"productKey":"P","deviceName":"s2"}],)"
            R"("message":"Sign check failed"})");
  const auto out = DecodeSession(
      ParseSession("/ext/session/P/G/combine/batch_logout")->act,
      R"({"id":2,"params":[{"productKey":"P","deviceName":"s1"},{"productKey":"P","deviceName":"s2"}]})");
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_EQ(out->devices.size(), 2u);
  topic = *ParseSession("/ext/session/P/G/combine/login");
  topic.word = "deviceName";
  EXPECT_EQ(
      EncodeSession(topic, "3", {good, 1}).payload,
      R"({"id":"3","code":200,"data":{"productKey":"P","deviceName":"s1"},"message":"success"})");
  const auto once = DecodeSession(  // what LinkSDK 4.x sends
      SessionAct::kLoginList,
      R"({"id":"1","version":"1.0","params":{"signMethod":"hmacSha256","deviceList":[{"productKey":"P",)"
      R"("deviceName":"s1","clientId":"P.s1","timestamp":"7","cleanSession":"false","sign":"AB"}]}})");
  ASSERT_TRUE(once) << once.error().message;
  EXPECT_EQ(once->devices[0].sign_method, "hmacSha256");
  EXPECT_FALSE(DecodeSession(SessionAct::kLoginList, R"({"params":{"deviceList":[]}})"));
  EXPECT_FALSE(DecodeSession(SessionAct::kLogoutList, R"({"params":{}})"));
}

TEST(Session, WhatIsNoRequestIsRefusedWithItsId) {
  const auto error = [](SessionAct act, const char* payload) {
    const auto request = DecodeSession(act, payload);
    EXPECT_FALSE(request) << payload;
    return request ? SessionError{} : request.error();
  };
  EXPECT_EQ(error(SessionAct::kLogin, R"({"id":"9"})").id, "9");
  EXPECT_EQ(error(SessionAct::kLogin, R"({"id":"9","params":[]})").message,
            "params: must be an object");
  error(SessionAct::kLogin, "");
  error(SessionAct::kLogin, "[]");
  error(SessionAct::kLogin, R"({"params":{"productKey":"p","deviceKey":"d","sign":"x"}})");
  error(
      SessionAct::kLogin,
      R"({"params":{"productKey":"p/q","deviceKey":"d","sign":"x","timestamp":"1","signMethod":"md5"}})");
  error(
      SessionAct::kLogin,
      R"({"params":{"productKey":"p","deviceKey":"d","sign":{},"timestamp":"1","signMethod":"md5"}})");
  error(
      SessionAct::kLoginBatch,
      R"({"params":{"productKey":"p","deviceKey":"d","sign":"x","timestamp":"1","signMethod":"md5"}})");
  error(SessionAct::kLoginBatch,
        R"({"params":{"subDevices":[],"timestamp":"1","signMethod":"md5"}})");
  error(SessionAct::kLogout, R"({"params":{"productKey":"p"}})");
  EXPECT_TRUE(
      DecodeSession(SessionAct::kLogout, R"({"params":{"productKey":"p","deviceKey":"d"}})"));
}

TEST(Session, RepliesAreThoseOfTheCloud) {
  const SessionTopic login = *ParseSession("/ext/session/pkG/dkG/combine/login");
  const SubResult good{{"pk", "dk"}, SessionCode::kOk};
  const SubResult bad{{"pk", "dx"}, SessionCode::kWrongSign};
  const Encoded one = EncodeSession(login, "4", {{good}});
  EXPECT_EQ(one.topic, "/ext/session/pkG/dkG/combine/login_reply");
  EXPECT_EQ(one.payload,
            R"({"id":"4","code":200,"data":{"productKey":"pk","deviceKey":"dk"},"message":""})");
  EXPECT_EQ(EncodeSession(login, "4", {{bad}}).payload,
            R"({"id":"4","code":742,"data":{"productKey":"pk","deviceKey":"dx"},)"
            R"("message":"Sign check failed"})");
  EXPECT_EQ(EncodeSession(login, "4", {}, SessionCode::kMalformed, "why").payload,
            R"({"id":"4","code":1220,"data":{},"message":"why"})");
  const SessionTopic batch = *ParseSession("/ext/session/pkG/dkG/combine/login/batch");
  const SubResult both[] = {good, bad};
  EXPECT_EQ(
      EncodeSession(batch, "5", both).payload,
      R"({"id":"5","code":723,"data":{"loginedSubDevices":[{"productKey":"pk","deviceKey":"dk"}],)"
      R"("failedSubDevices":[{"productKey":"pk","deviceKey":"dx"}]},)"
      R"("message":"pk&dx has error: Sign check failed;"})");
  EXPECT_EQ(EncodeSession(batch, "5", {}, SessionCode::kMalformed).payload,
            R"({"id":"5","code":1220,"data":{"loginedSubDevices":[],"failedSubDevices":[]},)"
            R"("message":"payload format error"})");
}

}  // namespace
}  // namespace ota::dialect
