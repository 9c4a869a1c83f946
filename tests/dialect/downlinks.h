// The downlinks of the protocol document, as values. Used where their exact bytes are compared.
#pragma once

#include <vector>

#include "core/model.h"

namespace ota::dialect {

// 2026-11-21 00:00:00 UTC.
inline constexpr core::Instant kNow{core::seconds(1795219200)};

inline core::Offer SpringOffer() {
  core::Offer offer;
  offer.task = "k7Qm2ZrT";
  offer.components = {{.name = "mcu",
                       .type = core::ComponentType::kMcu,
                       .package = core::PackageKind::kDelta,
                       .from = "2.1",
                       .to = "2.2",
                       .bytes = 40960,
                       .boot = true}};
  offer.conditions = {.battery = 30, .signal = -95, .free_bytes = 1048576};
  offer.text = "Fixes the pump.";
  offer.plan = "spring";
  offer.tags = {{"ring", "1"}};
  offer.expires_in = core::seconds(86400);
  return offer;
}

inline core::Offer ConsentedOffer() {
  core::Offer offer;
  offer.task = "0-7Gk2mQ";
  offer.mode = core::Mode::kManual;
  offer.consent = true;
  offer.components = {{.name = "main",
                       .type = core::ComponentType::kFirmware,
                       .package = core::PackageKind::kFull,
                       .from = "",
                       .to = "3.0",
                       .bytes = 917504,
                       .boot = false}};
  offer.expires_in = core::seconds(3600);
  return offer;
}

inline core::File FileOf(const char* name, std::int64_t bytes, const char* sha256) {
  core::File file;
  file.name = name;
  file.bytes = bytes;
  file.sha256 = sha256;
  return file;
}

inline core::Download DeltaDownload() {
  core::Download download;
  download.task = "k7Qm2ZrT";
  download.component = "mcu";
  download.package = core::PackageKind::kDelta;
  download.from = "2.1";
  download.to = "2.2";
  download.attempt = 1;
  download.deadline_in = core::seconds(3600);
  download.files = {FileOf("mcu-2.2.delta", 40960,
                           "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")};
  download.urls = {"http://10.0.0.5:8070/d/2f/mcu-2.2.delta"};
  download.expires_in = core::seconds(86400);
  return download;
}

inline core::Download BlocksDownload() {
  core::Download download;
  download.task = "0-7Gk2mQ";
  download.component = "main";
  download.to = "3.0";
  download.attempt = 2;
  download.deadline_in = core::seconds(3600);
  download.http = false;
  download.files = {
      FileOf("boot.bin", 65536, "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
      FileOf("app.bin", 851968,
             "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9")};
  return download;
}

inline core::Reply ReplyOf(const char* to, core::ReplyCode code) {
  core::Reply reply;
  reply.to = to;
  reply.code = code;
  return reply;
}

inline std::vector<core::Reply> Replies() {
  std::vector<core::Reply> replies{
      ReplyOf("version", core::ReplyCode::kOk), ReplyOf("version", core::ReplyCode::kMalformed),
      ReplyOf("confirm", core::ReplyCode::kOver), ReplyOf("version", core::ReplyCode::kOk),
      ReplyOf("progress", core::ReplyCode::kTooMany)};
  replies[0].id = "7";
  replies[1].id = "7";
  replies[1].message = "components: must be an object";
  replies[2].id = "8";
  replies[2].task = "k7Qm2ZrT";
  replies[2].message = "plan canceled";
  replies[3].id = "9";
  replies[3].task = "k7Qm2ZrT";
  replies[3].warning = "battery: must be an integer from 0 to 100";
  replies[3].again = core::seconds(30);
  replies[4].retry_after = core::seconds(10);
  return replies;
}

}  // namespace ota::dialect
