// What people ask for in the table `request`: release, retry, consent, explain, cancel. The part of
// Plans that answers them. Engine thread only, inside an open transaction.
#include <string>
#include <utility>

#include "engine/plans.h"

namespace ota::engine {

core::Result<Plans::Answer> Plans::Release(store::Store& store, const store::Request& request,
                                           core::Now now, Timeline& timeline) {
  if (!request.device.empty()) {
    auto refused = exchange_.Release({request.product, request.device});
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    return refused->empty() ? std::pair{store::RequestState::kDone, std::string("released")}
                            : std::pair{store::RequestState::kRefused, *refused};
  }
  int released = 0;
  for (const auto& [name, entry] : exchange_.catalogue().plans) {
    if (!entry.state || (!request.plan.empty() && request.plan != name) ||
        (entry.state->phase != store::PlanPhase::kHeld && entry.state->halted.empty())) {
      continue;
    }
    store::PlanState state = *entry.state;
    store::Status status;
    if (!state.halted.empty()) {
      status = LetGo(store, name, state);
    }
    if (status && state.phase == store::PlanPhase::kHeld) {
      state.phase = entry.plan->wanted == core::Wanted::kPaused ? store::PlanPhase::kPaused
                                                                : store::PlanPhase::kActive;
      state.reason.clear();
      status = store.SavePlanState(state);
    }
    if (status) {
      status = Note(store, *entry.plan, "released", now);
    }
    if (!status) {
      return tl::unexpected(status.error());
    }
    Wake(entry.plan->product);
    WakeQueued(name);
    ++released;
  }
  bool clock = false;
  if (request.plan.empty() && !now.trusted) {
    timeline.TrustFrom(now.wall);
    clock = true;
  }
  if (released == 0 && !clock) {
    return std::pair{store::RequestState::kRefused,
                     request.plan.empty()
                         ? std::string("nothing is held and nothing has halted")
                         : "plan '" + request.plan + "' is not held and has not halted"};
  }
  return std::pair{store::RequestState::kDone, std::to_string(released) + " plans released" +
                                                   (clock ? "; the clock is trusted" : "")};
}

// The failed tasks of a whole plan, in slices: the request stays new until the last one, and says
// how far it is. A task that cannot be tried again stops none of the others.
core::Result<Plans::Answer> Plans::RetryAll(store::Store& store, const store::Request& request) {
  auto devices = store.FailedDevices(request.plan, request.at_device, kSlice);
  if (!devices) {
    return tl::unexpected(devices.error());
  }
  int tasks = request.tasks;
  std::string why = "plan '" + request.plan + "' has no failed task";
  for (const store::DeviceRef& device : *devices) {
    auto refused = exchange_.Retry(device.key, request.plan, request.argument);
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    tasks += refused->empty() ? 1 : 0;
    why = refused->empty() ? why : *refused;
  }
  if (devices->size() == static_cast<std::size_t>(kSlice)) {
    more_requests_ = true;
    if (auto status = store.SaveProgress(request.id, devices->back().id, tasks); !status) {
      return tl::unexpected(status.error());
    }
    return Answer{};
  }
  return tasks == 0 ? std::pair{store::RequestState::kRefused, why}
                    : std::pair{store::RequestState::kDone,
                                std::to_string(tasks) + " tasks are tried again"};
}

core::Result<Plans::Answer> Plans::Act(store::Store& store, const store::Request& request,
                                       core::Now now, Timeline& timeline) {
  const std::shared_ptr<const core::Plan> plan = exchange_.catalogue().FindPlan(request.plan);
  core::DeviceKey key{request.product, request.device};
  if (key.product.empty() && plan != nullptr) {
    key.product = plan->product;
  }
  if (request.act == "release") {
    return Release(store, request, now, timeline);
  }
  if (request.act == "retry" && request.device.empty()) {
    return RetryAll(store, request);
  }
  if (request.act == "retry" || request.act == "consent") {
    auto refused = request.act == "retry" ? exchange_.Retry(key, request.plan, request.argument)
                                          : exchange_.Consent(key, request.plan, request.argument);
    if (!refused) {
      return tl::unexpected(refused.error());
    }
    return refused->empty() ? std::pair{store::RequestState::kDone, std::string("done")}
                            : std::pair{store::RequestState::kRefused, *refused};
  }
  if (request.act == "explain") {
    auto plans = exchange_.Explain(request.id, key, request.plan);
    if (!plans) {
      return tl::unexpected(plans.error());
    }
    return *plans == 0
               ? std::pair{store::RequestState::kRefused, std::string("no such plan is in force")}
               : std::pair{store::RequestState::kDone, std::to_string(*plans) + " plans"};
  }
  if (request.act == "cancel") {
    auto canceled =
        exchange_.Cancel(key, request.plan, core::Reason::kTaskCanceled, request.argument);
    if (!canceled) {
      return tl::unexpected(canceled.error());
    }
    return *canceled == 0 ? std::pair{store::RequestState::kRefused,
                                      std::string("the device has no such task to cancel")}
                          : std::pair{store::RequestState::kDone,
                                      std::to_string(*canceled) + " tasks canceled"};
  }
  return std::pair{store::RequestState::kRefused, "unknown act '" + request.act + "'"};
}

core::Result<int> Plans::AnswerRequests(store::Store& store, core::Now now, Timeline& timeline) {
  auto requests = store.NewRequests(kRequestSlice);
  if (!requests) {
    return tl::unexpected(requests.error());
  }
  more_requests_ = false;
  for (const store::Request& request : *requests) {
    bool handled = false;
    const auto answer = [&]() -> store::Status {
      auto given = Act(store, request, now, timeline);
      if (!given) {
        return tl::unexpected(given.error());
      }
      handled = true;
      return *given ? store.AnswerRequest(request.id, (*given)->first, (*given)->second, now.wall)
                    : store::Status{};
    };
    if (auto status = exchange_.Try({request.product, request.device}, answer); !status) {
      return tl::unexpected(status.error());
    }
    if (!handled) {
      auto status = store.AnswerRequest(request.id, store::RequestState::kRefused,
                                        "the database refused it: see the broker's log", now.wall);
      if (!status) {
        return tl::unexpected(status.error());
      }
    }
  }
  return static_cast<int>(requests->size());
}

}  // namespace ota::engine
