// The shell that Mosquitto loads: the three C entry points, the callbacks, the composition. What
// they do is in broker/; nothing else knows Mosquitto. All of it runs on the broker's thread and
// never waits: no disk, no database, no network, no lock that another thread holds for long.
//
// Compiles against the headers of 2.0 and of 2.1; what differs at run time is found out at run
// time.
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/access.h"
#include "broker/broker.h"
#include "broker/service.h"
#include "core/result.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "guard/identity.h"

namespace ota {
namespace {

using broker::Instance;
using broker::Log;
using broker::Service;
using broker::View;

// The version of the plugin interface, the same in 2.0 and 2.1.
constexpr int kInterface = 5;
// 2.1's end of a connection whose session stays, with the same data as MOSQ_EVT_DISCONNECT. 2.0's
// headers do not know it, 2.0 refuses it.
constexpr int kClientOffline = 28;

// What one `plugin` line made, with what the broker knows of it.
struct Plugin {
  mosquitto_plugin_id_t* id = nullptr;
  broker::Instance instance;
  bool is_2_1 = false;
  std::size_t registered = 0;  // of kCallbacks, from the front
};

const Instance& InstanceOf(void* user) {
  return static_cast<const Plugin*>(user)->instance;
}

// Runs the body of a callback. No exception may reach the broker: it would end it.
template <typename Body>
int Guarded(int on_exception, Body body) noexcept {
  try {
    return body();
  } catch (...) {
    return on_exception;
  }
}

int OnAclCheck(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_ACL_DENIED, [=] {
    return broker::CheckAccess(InstanceOf(user), *static_cast<mosquitto_evt_acl_check*>(event));
  });
}

int OnMessage(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_ACL_DENIED, [=] {
    return broker::TakeMessage(InstanceOf(user), *static_cast<mosquitto_evt_message*>(event));
  });
}

int OnBasicAuth(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_AUTH, [=] {
    return broker::CheckBasicAuth(InstanceOf(user), *static_cast<mosquitto_evt_basic_auth*>(event));
  });
}

// 2.1 adds `next_s` to the wall clock's seconds and does not call again before that time: a clock
// that is set back would end the ticks until it has caught up. So the time asked for is 1970's.
int OnTick(int, void* event, void* user) noexcept {
  auto& tick = *static_cast<mosquitto_evt_tick*>(event);
  tick.next_s = -tick.now_s;
  return Guarded(MOSQ_ERR_SUCCESS, [=] {
    InstanceOf(user).service->Tick();
    return MOSQ_ERR_SUCCESS;
  });
}

int OnDisconnect(int, void* event, void* user) noexcept {
  return Guarded(MOSQ_ERR_SUCCESS, [=] {
    InstanceOf(user).service->Gone(static_cast<mosquitto_evt_disconnect*>(event)->client);
    return MOSQ_ERR_SUCCESS;
  });
}

// 2.1 ends at any code but 0; 2.0 lets the next plugin reload only after DEFER.
int OnReload(int, void*, void* user) noexcept {
  const int done =
      static_cast<const Plugin*>(user)->is_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
  return Guarded(done, [&] {
    InstanceOf(user).service->Reload();
    return done;
  });
}

struct Callback {
  int event;
  MOSQ_FUNC_generic_callback function;
};

// All of them; the last one exists since 2.1 only, and tells the two apart. BASIC_AUTH, even
// deferred, changes who may connect: it is left out unless devices log in.
constexpr Callback kCallbacks[] = {
    {MOSQ_EVT_RELOAD, OnReload},         {MOSQ_EVT_ACL_CHECK, OnAclCheck},
    {MOSQ_EVT_MESSAGE, OnMessage},       {MOSQ_EVT_TICK, OnTick},
    {MOSQ_EVT_DISCONNECT, OnDisconnect}, {MOSQ_EVT_BASIC_AUTH, OnBasicAuth},
    {kClientOffline, OnDisconnect},
};

bool Wants(const Plugin& plugin, const Callback& callback) {
  return callback.event != MOSQ_EVT_BASIC_AUTH ||
         plugin.instance.options.login != engine::LoginMode::kOff;
}

void Unregister(Plugin& plugin) {
  while (plugin.registered > 0) {
    const Callback& callback = kCallbacks[--plugin.registered];
    if (Wants(plugin, callback)) {
      mosquitto_callback_unregister(plugin.id, callback.event, callback.function, nullptr);
    }
  }
}

core::Result<void> Register(Plugin& plugin) {
  for (const Callback& callback : kCallbacks) {
    const int rc = Wants(plugin, callback)
                       ? mosquitto_callback_register(plugin.id, callback.event, callback.function,
                                                     nullptr, &plugin)
                       : MOSQ_ERR_SUCCESS;
    if (rc == MOSQ_ERR_NOT_SUPPORTED && callback.event == kClientOffline) {
      return {};
    }
    if (rc != MOSQ_ERR_SUCCESS) {
      return core::Fail(core::ErrorCode::kUnsupported, "the broker refuses event " +
                                                           std::to_string(callback.event) +
                                                           " with code " + std::to_string(rc));
    }
    ++plugin.registered;
  }
  plugin.is_2_1 = true;
  return {};
}

// What the administrator should know of this configuration.
void Tell(const Instance& instance) {
  using enum engine::LogLevel;
  const engine::Options& options = instance.options;
  std::string identity;
  for (const std::string& rule : options.identity) {
    identity += (identity.empty() ? "'" : ", '") + rule + "'";
  }
  Log(kNotice, "devices are known by " + identity +
                   "; where the broker does not check credentials this is only their claim");
  if (options.login != engine::LoginMode::kOff) {
    Log(kNotice, options.login == engine::LoginMode::kAllow
                     ? "devices log in by their secrets; whoever is no such device and gives a "
                       "user name may connect (plugin_opt_login allow): a password_file or access "
                       "plugin after this one is not asked"
                     : "devices log in by their secrets; all others are left to password_file and "
                       "other plugins (plugin_opt_login defer); where there is none, clients with "
                       "a user name are refused");
    const bool clouds = std::ranges::any_of(instance.rules, [](const guard::IdentityRule& rule) {
      return rule.credential == guard::Credential::kUserName && guard::Match(rule, "d&p");
    });
    if (!clouds) {
      Log(kNotice,
          "no identity rule for devices of the clouds: theirs is plugin_opt_identity username "
          "{device}&{product}");
    }
  }
  if (options.login == engine::LoginMode::kOff && !options.login_password.empty()) {
    Log(kWarning, "plugin_opt_login_password has no effect: plugin_opt_login is off");
  }
  if (options.guard == engine::GuardMode::kReport) {
    Log(kWarning, "the topic guard only reports (plugin_opt_guard report): denies nothing");
  }
  Log(kNotice, options.acl_other == engine::AclOther::kAllow
                   ? "topics that are not OTA's are allowed to everybody (plugin_opt_acl_other "
                     "allow): an acl_file or access plugin after this one is not asked"
                   : "topics that are not OTA's are left to acl_file and other plugins "
                     "(plugin_opt_acl_other defer); where there is none they are denied");
  if (!options.download_base) {
    Log(kNotice, "no plugin_opt_download_base: files are delivered over MQTT only");
  } else if (options.download_listen) {
    Log(kNotice, "download server on " + options.download_listen->address + " port " +
                     std::to_string(options.download_listen->port) + ", known to devices as " +
                     *options.download_base);
  } else {
    Log(kNotice, "no plugin_opt_download_listen: another web server must serve the files under " +
                     *options.download_base);
  }
}

// The guard's part of a `plugin` line. Fails with the first mistake in the options.
core::Result<Instance> ReadInstance(const struct mosquitto_opt* options, int count) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  pairs.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    pairs.emplace_back(View(options[i].key), View(options[i].value));
  }
  auto parsed = engine::ParseOptions(pairs);
  if (!parsed) {
    return tl::unexpected(std::move(parsed.error()));
  }
  Instance instance;
  instance.options = *std::move(parsed);
  for (const std::string& text : instance.options.identity) {
    auto rule = guard::ParseIdentityRule(text);
    if (!rule) {
      rule.error().message.insert(0, "plugin_opt_");
      return tl::unexpected(std::move(rule.error()));
    }
    instance.rules.push_back(*std::move(rule));
  }
  instance.login = {instance.options.login_password,
                    instance.options.login == engine::LoginMode::kAllow};
  return instance;
}

// The process's service, started unless it runs.
core::Result<std::shared_ptr<Service>> JoinService(const engine::Options& options) {
  static std::weak_ptr<Service> running;
  std::shared_ptr<Service> service = running.lock();
  if (service) {
    if (!engine::SameService(options, service->options())) {
      return core::Fail(core::ErrorCode::kInvalidArgument,
                        "another listener runs the plugin with other options: only identity, "
                        "administrators, bridges, login, login_password, guard and acl_other may "
                        "differ");
    }
    return service;
  }
  service = std::make_shared<Service>(options);
  if (auto started = service->Start(); !started) {
    return tl::unexpected(std::move(started.error()));
  }
  running = service;
  return service;
}

core::Result<std::unique_ptr<Plugin>> MakePlugin(mosquitto_plugin_id_t* id,
                                                 const struct mosquitto_opt* options, int count) {
  auto instance = ReadInstance(options, count);
  if (!instance) {
    return tl::unexpected(std::move(instance.error()));
  }
  auto service = JoinService(instance->options);
  if (!service) {
    return tl::unexpected(std::move(service.error()));
  }
  instance->service = *std::move(service);
  auto plugin = std::make_unique<Plugin>(Plugin{id, *std::move(instance)});
  if (auto registered = Register(*plugin); !registered) {
    Unregister(*plugin);
    return tl::unexpected(std::move(registered.error()));
  }
  Tell(plugin->instance);
  return plugin;
}

}  // namespace
}  // namespace ota

#define OTA_EXPORT extern "C" __attribute__((visibility("default")))

OTA_EXPORT int mosquitto_plugin_version(int count, const int* versions) {
  return std::find(versions, versions + count, ota::kInterface) == versions + count
             ? -1
             : ota::kInterface;
}

OTA_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t* id, void** user,
                                     struct mosquitto_opt* options, int count) {
  return ota::Guarded(MOSQ_ERR_UNKNOWN, [=] {
    ota::core::Result<std::unique_ptr<ota::Plugin>> plugin;
    try {
      plugin = ota::MakePlugin(id, options, count);
    } catch (const std::exception& error) {  // no thread, no memory
      plugin = ota::core::Fail(ota::core::ErrorCode::kUnavailable,
                               std::string("the plugin cannot be started: ") + error.what());
    }
    if (!plugin) {
      ota::Log(ota::engine::LogLevel::kError, plugin.error().message);
      return static_cast<int>(MOSQ_ERR_INVAL);
    }
    *user = plugin->release();
    return static_cast<int>(MOSQ_ERR_SUCCESS);
  });
}

OTA_EXPORT int mosquitto_plugin_cleanup(void* user, struct mosquitto_opt*, int) {
  return ota::Guarded(MOSQ_ERR_SUCCESS, [=] {
    const std::unique_ptr<ota::Plugin> plugin(static_cast<ota::Plugin*>(user));
    if (plugin) {
      ota::Unregister(*plugin);
    }
    return static_cast<int>(MOSQ_ERR_SUCCESS);
  });
}
