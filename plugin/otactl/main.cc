// otactl: the administrator's program. This file is its command line; what the commands do is in
// commands.h. Only this file knows CLI11.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/paths.h"
#include "otactl/commands.h"

namespace ota::otactl {
namespace {

constexpr char kFooter[] =
    "\nExit codes: 0 done; 1 no: not found, refused by the engine, something is wrong;\n"
    "2 wrong usage; 3 refused by the database or a rule, nothing was changed;\n"
    "4 database not available (none, locked, damaged), or no answer from the broker.\n"
    "\nExample: otactl import product.sql && otactl plan activate spring && otactl status";

// What the command line was parsed into.
struct Arguments {
  Context context;
  std::vector<std::string> files;
  std::string table;
  std::vector<std::string> constants;
  bool check = false;
  PackageAdd add;
  PackageSign sign;
  std::string product;
  std::string plan;
  std::string device;
  std::string task;
  DeviceAdd device_add;
  std::string csv;
  bool remove = false;
  bool devices = false;
  bool follow = false;
  int lines = 50;
  int wait_s = 10;
  int explain_wait_s = 5;
  std::vector<std::string> names;
  std::string until;
  std::string reason;
  bool off = false;
  std::string tasks;
};

// "PRODUCT/DEVICE"; of what may also be held "PRODUCT" and "".
DeviceName ParseDevice(const std::string& text) {
  const std::size_t slash = text.find('/');
  return {text.substr(0, slash), slash == std::string::npos ? "" : text.substr(slash + 1)};
}

// From version 2.5 on the library breaks lines anew unless they may be long. A template: older ones
// have none of these names.
template <typename Formatter>
void KeepLines(Formatter& formatter) {
  if constexpr (requires { formatter.footer_paragraph_width(0); }) {
    constexpr std::size_t kLong = 1000;
    formatter.description_paragraph_width(kLong);
    formatter.footer_paragraph_width(kLong);
    formatter.right_column_width(kLong);
  }
}

const CLI::Validator device_form(
    [](const std::string& text) {
      const std::size_t slash = text.find('/');
      const bool good = slash != std::string::npos && slash > 0 && slash + 1 < text.size();
      return good ? std::string() : "'" + text + "' is not PRODUCT/DEVICE";
    },
    "PRODUCT/DEVICE");

// What a script has left empty is not the default, which is everything.
const CLI::Validator given(
    [](const std::string& text) {
      return text.empty() ? std::string("is empty; leave it out to mean everything") : "";
    },
    "");

const CLI::Validator held_form(
    [](const std::string& text) {
      const bool good = !text.empty() && text.front() != '/' && text.back() != '/';
      return good ? std::string() : "'" + text + "' is neither PRODUCT/DEVICE nor PRODUCT";
    },
    "PRODUCT[/DEVICE]");

const CLI::Validator constant_form(
    [](const std::string& text) {
      const std::size_t sign = text.find('=');
      const bool good = sign != std::string::npos && sign > 0;
      return good ? std::string() : "'" + text + "' is not COLUMN=VALUE";
    },
    "COLUMN=VALUE");

std::vector<std::pair<std::string, std::string>> Constants(const Arguments& arguments) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& text : arguments.constants) {
    const std::size_t sign = text.find('=');
    pairs.emplace_back(text.substr(0, sign), text.substr(sign + 1));
  }
  return pairs;
}

using Run = std::function<int()>;

class CommandLine {
 public:
  CommandLine() {
    KeepLines(*app_.get_formatter());
    app_.footer(kFooter);
    app_.require_subcommand(1);
    app_.add_option("--database", args_.context.database, "The database file")
        ->envname("OTA_DATABASE")
        ->capture_default_str();
    app_.add_option("--packages", args_.context.packages,
                    "The store directory of packages; default: 'packages' beside the database")
        ->envname("OTA_PACKAGES");
    app_.add_option("--secret-key", args_.context.secret_key,
                    "The key that secrets of devices are encrypted with; default: 'secret.key' "
                    "beside the database")
        ->envname("OTA_SECRET_KEY");
    app_.add_flag("--json", args_.context.json, "Print JSON");
    AddImport();
    AddPackageCommands();
    AddPlanCommands();
    AddDeviceCommands();
    AddBrakes();
    AddOtherCommands();
  }

  int Main(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      return app_.exit(error) == 0 ? kOk : kUsage;
    }
    if (args_.context.packages.empty()) {
      args_.context.packages =
          (std::filesystem::path(args_.context.database).parent_path() / core::kPackagesName)
              .string();
    }
    if (args_.context.secret_key.empty()) {
      args_.context.secret_key =
          (std::filesystem::path(args_.context.database).parent_path() / core::kSecretKeyName)
              .string();
    }
    const int code = run_();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      std::fputs("otactl: the output cannot be written\n", stderr);
      return code == kOk ? kNo : code;
    }
    return code;
  }

 private:
  CLI::App* Command(CLI::App& parent, const std::string& name, const std::string& what,
                    const std::string& example, Run run) {
    CLI::App* command = parent.add_subcommand(name, what);
    command->footer("\nExample: otactl " + example);
    command->fallthrough();
    command->callback([this, run = std::move(run)] { run_ = run; });
    return command;
  }

  static void AddWait(CLI::App* command, int* seconds) {
    command->add_option("--wait", *seconds, "Seconds to wait for the answer")
        ->check(CLI::Range(0, 3600))
        ->capture_default_str();
  }

  CLI::App* Group(const std::string& name, const std::string& what) {
    CLI::App* group = app_.add_subcommand(name, what);
    group->require_subcommand(1);
    group->fallthrough();
    return group;
  }

  void AddImport() {
    CLI::App* command = Command(
        app_, "import",
        "Run SQL scripts and load CSV files, all in one transaction: everything or nothing.\n"
        "A file *.csv goes into the table that its name says, or --table; its first line names\n"
        "columns; rows whose key exists are changed, others inserted, none deleted.",
        "import --table plan_device --set plan=spring whitelist.csv", [this] {
          const Arguments& a = args_;
          return Import(a.context, a.files,
                        a.table.empty() ? std::nullopt : std::optional<std::string>(a.table),
                        Constants(a), a.check);
        });
    command->add_option("FILE", args_.files, "SQL scripts or CSV files, in order")->required();
    command->add_option("--table", args_.table, "The files are CSV, for this table");
    command
        ->add_option("--set", args_.constants,
                     "A CSV column with one value for all rows, repeatable")
        ->check(constant_form)
        ->expected(1)
        ->allow_extra_args(false)  // what follows is a file
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    command->add_flag("--check", args_.check, "Say what would change, and change nothing");
  }

  void AddPackageCommands() {
    CLI::App* product = Group("product", "Products: key");
    CLI::App* key = Command(
        *product, "key",
        "Deliver only packages that this key has signed, or, without a file,\n"
        "any package again",
        "product key demo public.pem",
        [this] { return SetProductKey(args_.context, args_.sign.product, args_.sign.key); });
    key->add_option("PRODUCT", args_.sign.product)->required();
    key->add_option("FILE", args_.sign.key, "A public key: PEM, SubjectPublicKeyInfo");
    CLI::App* group = Group("package", "Packages: add, list, manifest, sign");
    CLI::App* add = Command(*group, "add",
                            "Copy files into the store directory and make a package of them.\n"
                            "Adding the same again changes nothing.",
                            "package add demo main 2.0.0 firmware.bin --wait",
                            [this] { return AddPackage(args_.context, args_.add); });
    add->add_option("PRODUCT", args_.add.product)->required();
    add->add_option("COMPONENT", args_.add.component, "Is made if the product has none so named")
        ->required();
    add->add_option("VERSION", args_.add.version, "What the device reports after the upgrade")
        ->required();
    add->add_option("FILE", args_.add.files,
                    "One to five files, or http(s) addresses to fetch them from")
        ->required()
        ->expected(1, 5);
    add->add_option("--name", args_.add.name, "The package; default: COMPONENT-VERSION[-delta]");
    add->add_option("--delta-from", args_.add.delta_from,
                    "A delta package; these files are for devices of this version");
    add->add_option("--remarks", args_.add.remarks);
    add->add_option("--type", args_.add.type, "Type of a new component; default: firmware")
        ->check(
            CLI::IsMember({"firmware", "module", "mcu", "software", "driver", "config", "other"}));
    add->add_flag("--wait", args_.add.wait, "Wait until the plugin has hashed the files");
    CLI::App* manifest = Command(
        *group, "manifest", "Print the bytes that a signature of the package is of",
        "package manifest demo main-2.0.0",
        [this] { return PrintManifest(args_.context, args_.sign.product, args_.sign.package); });
    CLI::App* sign = Command(
        *group, "sign",
        "Sign a package, or attach a signature that was made elsewhere, e.g. by\n"
        "openssl dgst -sha256 -sign key.pem -out signature manifest\n"
        "The signature is checked with the product's public key. A package of a plan that is no\n"
        "draft cannot be signed any more.",
        "package sign demo main-2.0.0 --key key.pem",
        [this] { return SignPackage(args_.context, args_.sign); });
    for (CLI::App* command : {manifest, sign}) {
      command->add_option("PRODUCT", args_.sign.product)->required();
      command->add_option("PACKAGE", args_.sign.package)->required();
    }
    CLI::Option_group* with = sign->add_option_group("with");
    with->add_option("--key", args_.sign.key, "A private key: PEM, PKCS #8; EC, Ed25519 or RSA");
    with->add_option("--signature", args_.sign.signature, "A signature's bytes");
    with->require_option(1);
    Command(*group, "list", "List packages and what is wrong with them", "package list --json",
            [this] { return ListPackages(args_.context, args_.product); })
        ->add_option("--product", args_.product);
  }

  void AddPlanCommands() {
    CLI::App* group = Group("plan", "Plans: list, show, activate, pause, resume, cancel, retry");
    Command(*group, "list", "List plans with the number of devices in each state", "plan list",
            [this] { return ListPlans(args_.context, args_.product); })
        ->add_option("--product", args_.product);
    CLI::App* show = Command(*group, "show", "Show a plan, and why its devices are where they are",
                             "plan show spring --devices",
                             [this] { return ShowPlan(args_.context, args_.plan, args_.devices); });
    show->add_option("PLAN", args_.plan)->required();
    show->add_flag("--devices", args_.devices, "Every device too");
    struct Act {
      const char* name;
      const char* what;
      const char* from;
      const char* wanted;
    };
    for (const Act& act :
         {Act{"activate", "Let a plan take effect", "", "active"},
          Act{"pause", "Make no new offers; what is under way goes on", "active", "paused"},
          Act{"resume", "Go on with a paused plan", "paused", "active"}}) {
      Command(*group, act.name, act.what, std::string("plan ") + act.name + " spring",
              [this, from = std::string(act.from), wanted = std::string(act.wanted)] {
                return SetWanted(args_.context, args_.plan, from, wanted, "");
              })
          ->add_option("PLAN", args_.plan)
          ->required();
    }
    CLI::App* cancel = Command(
        *group, "cancel",
        "Cancel a plan, for good: no device joins any more. Of its tasks end those that\n"
        "plan.at_cancel says, else the profile of the product (`all` in most).",
        "plan cancel spring --tasks queued",
        [this] { return SetWanted(args_.context, args_.plan, "", "canceled", args_.tasks); });
    cancel->add_option("PLAN", args_.plan)->required();
    cancel
        ->add_option("--tasks", args_.tasks,
                     "scheduled: those that wait for the start of the plan; queued: those that are "
                     "not offered; all: also what is offered or under way")
        ->check(CLI::IsMember({"scheduled", "queued", "all"}));
    CLI::App* retry = Command(
        *group, "retry",
        "Start ended tasks of a plan anew: of the devices named, or all that have failed; waits\n"
        "for the answers",
        "plan retry spring d1 d2",
        [this] { return RetryPlan(args_.context, args_.plan, args_.names, args_.wait_s); });
    retry->add_option("PLAN", args_.plan)->required();
    retry->add_option("DEVICE", args_.names, "Names without the product")->check(given);
    AddWait(retry, &args_.wait_s);
  }

  void AddDeviceCommands() {
    CLI::App* group = Group("device", "Devices: list, show, add, secret, explain, release, retire");
    CLI::App* add = Command(
        *group, "add",
        "Make a device, or many from a CSV file, with the secrets that they log in with.\n"
        "Secrets are read from files and stored encrypted. A device that exists gets what is "
        "given\n"
        "and keeps the rest. Columns of the file: product, name, secret, and others of the table\n"
        "device; all rows or none.",
        "device add meter m1 --secret-file m1.secret", [this] {
          if (!args_.csv.empty()) {
            return AddDevices(args_.context, args_.csv, args_.product);
          }
          if (args_.device_add.device.empty()) {
            std::fputs("PRODUCT and DEVICE, or --csv, are required\n", stderr);
            return kUsage;
          }
          return AddDevice(args_.context, args_.device_add);
        });
    CLI::Option* product = add->add_option("PRODUCT", args_.device_add.product);
    CLI::Option* device = add->add_option("DEVICE", args_.device_add.device)->needs(product);
    CLI::Option* secret =
        add->add_option("--secret-file", args_.device_add.secret_file,
                        "The secret is the first line of this file; -: of standard input");
    CLI::Option* gateway = add->add_option("--gateway", args_.device_add.gateway,
                                           "The device is a sub-device of this one")
                               ->check(device_form);
    CLI::Option* disabled =
        add->add_flag("--disabled", args_.device_add.disabled, "It may not log in or upgrade");
    CLI::Option* csv = add->add_option("--csv", args_.csv, "A file of devices");
    add->add_option("--product", args_.product, "Of all devices of the file")->needs(csv);
    for (CLI::Option* single : {product, device, secret, gateway, disabled}) {
      csv->excludes(single);
    }
    CLI::App* change = Command(
        *group, "secret", "Give a device another secret, or none",
        "device secret meter m1 --remove", [this] {
          return SetSecret(args_.context, {args_.device_add.product, args_.device_add.device},
                           args_.remove ? "" : args_.device_add.secret_file);
        });
    change->add_option("PRODUCT", args_.device_add.product)->required();
    change->add_option("DEVICE", args_.device_add.device)->required();
    CLI::Option_group* how = change->add_option_group("how");
    how->require_option(1);
    how->add_option("--secret-file", args_.device_add.secret_file,
                    "The secret is the first line of this file; -: of standard input");
    how->add_flag("--remove", args_.remove, "The device cannot log in by secret any more");
    Command(*group, "list", "List devices, their versions and what they wait for",
            "device list --product demo",
            [this] { return ListDevices(args_.context, args_.product); })
        ->add_option("--product", args_.product);
    Command(*group, "show", "Show a device with its components, tasks and last log lines",
            "device show demo/d1",
            [this] { return ShowDevice(args_.context, ParseDevice(args_.device)); })
        ->add_option("DEVICE", args_.device)
        ->required()
        ->check(device_form);
    CLI::App* explain = Command(*group, "explain",
                                "Why does a device get no plan? Every rule in its order, with "
                                "value and limit. Exit code 0\n"
                                "when a plan may be offered now, 3 when none may.",
                                "device explain demo/d1 spring", [this] {
                                  return ExplainDevice(args_.context, ParseDevice(args_.device),
                                                       args_.plan, args_.explain_wait_s);
                                });
    explain->add_option("DEVICE", args_.device)->required()->check(device_form);
    explain->add_option("PLAN", args_.plan, "Default: every plan of its product");
    AddWait(explain, &args_.explain_wait_s);
    CLI::App* release = Command(
        *group, "release",
        "Let a device go on that was put aside because it failed a target again and again",
        "device release demo/d1",
        [this] { return ReleaseDevice(args_.context, ParseDevice(args_.device), args_.wait_s); });
    release->add_option("DEVICE", args_.device)->required()->check(device_form);
    AddWait(release, &args_.wait_s);
    CLI::App* retire = Command(
        *group, "retire", "Take a device out of every scope; its history stays",
        "device retire demo/d1",
        [this] { return RetireDevice(args_.context, ParseDevice(args_.device), args_.off); });
    retire->add_option("DEVICE", args_.device)->required()->check(device_form);
    retire->add_flag("--off", args_.off, "Put it in service again");
  }

  void AddBrakes() {
    CLI::App* hold = Command(
        app_, "hold",
        "Freeze a device, a product, or the whole site: no offers, addresses or blocks",
        "hold demo/d1 --until 2027-01-31 --reason \"under audit\"", [this] {
          return args_.off
                     ? Unhold(args_.context, ParseDevice(args_.device))
                     : Hold(args_.context, ParseDevice(args_.device), args_.until, args_.reason);
        });
    hold->add_option("WHAT", args_.device, "Default: the site")->check(held_form);
    hold->add_option("--until", args_.until,
                     "A date, such as 2027-01-31 or 2027-01-31T08:00+01:00; without a zone UTC.\n"
                     "Default: until it is taken off");
    hold->add_option("--reason", args_.reason, "Is shown to whoever asks why");
    hold->add_flag("--off", args_.off, "Take the hold off; the same as unhold");
    Command(app_, "unhold", "Take a hold off", "unhold demo/d1",
            [this] { return Unhold(args_.context, ParseDevice(args_.device)); })
        ->add_option("WHAT", args_.device, "Default: the site")
        ->check(held_form);
    Command(
        app_, "stop",
        "Stop everything at once: offers, addresses, blocks and running downloads. Holds until\n"
        "otactl go, also after a restart.",
        "stop --reason \"2.1 bricks devices\"",
        [this] { return Stop(args_.context, args_.reason); })
        ->add_option("--reason", args_.reason)
        ->required();
    Command(app_, "go", "Let go on what was stopped", "go", [this] { return Go(args_.context); });
  }

  void AddOtherCommands() {
    Command(app_, "status",
            "How the plugin, the plans and the packages are. Exit code 1 when something is wrong.",
            "status --json", [this] { return Status(args_.context); });

    CLI::App* release = Command(
        app_, "release",
        "Let what is held go on: one plan, or all of them and a clock that is not trusted; waits "
        "for\n"
        "the answer",
        "release spring", [this] { return Release(args_.context, args_.plan, args_.wait_s); });
    release->add_option("PLAN", args_.plan, "Default: everything that is held")->check(given);
    AddWait(release, &args_.wait_s);

    CLI::App* tasks = Group("task", "Tasks: cancel, retry, consent");
    struct Act {
      const char* name;
      const char* help;
    };
    for (const Act& act :
         {Act{"cancel", "Cancel one device's task; waits for the answer"},
          Act{"retry", "Start an ended task that did not succeed anew; waits for the answer"},
          Act{"consent", "Consent to a task of a plan in manual mode; waits for the answer"}}) {
      CLI::App* command =
          Command(*tasks, act.name, act.help, "task " + std::string(act.name) + " Ab3dE6gH",
                  [this, name = std::string(act.name)] {
                    return ActOnTask(args_.context, name, args_.task, args_.wait_s);
                  });
      command->add_option("TASK", args_.task, "As otactl device show lists it")->required();
      AddWait(command, &args_.wait_s);
    }

    CLI::App* log = Command(
        app_, "log", "Show the last lines of the log", "log --device demo/d1 --follow", [this] {
          std::optional<DeviceName> device;
          if (!args_.device.empty()) {
            device = ParseDevice(args_.device);
          }
          return Log(args_.context, device, args_.plan, args_.lines, args_.follow);
        });
    log->add_option("--device", args_.device)->check(device_form);
    log->add_option("--plan", args_.plan);
    log->add_option("-n,--lines", args_.lines)
        ->check(CLI::Range(1, 1000000))
        ->capture_default_str();
    log->add_flag("--follow", args_.follow, "Go on showing what is added, until interrupted");

    Command(app_, "backup", "Write database and keys to one new file (0600) while the broker runs",
            "backup ota.tar", [this] { return BackUp(args_.context, args_.files[0]); })
        ->add_option("FILE", args_.files)
        ->required()
        ->expected(1);
    Command(app_, "restore",
            "Put a backup in place of the database; the broker must be stopped.\n"
            "What was there is kept under another name.",
            "restore ota.tar", [this] { return RestoreFrom(args_.context, args_.files[0]); })
        ->add_option("FILE", args_.files)
        ->required()
        ->expected(1);

    CLI::App* sql = Command(
        app_, "sql",
        "Open the sqlite3 shell as it should be: timeout, foreign keys, recursive triggers.\n"
        "Further words go to sqlite3: its options and one SQL text; the exit code is sqlite3's.",
        "sql -readonly 'SELECT * FROM plans'",
        [this] { return Sql(args_.context, sql_->remaining()); });
    sql->prefix_command();
    sql->fallthrough(false);
    sql_ = sql;
  }

  CLI::App app_{"Administers the over-the-air upgrades of mosquitto-ota.", "otactl"};
  Arguments args_;
  CLI::App* sql_ = nullptr;
  Run run_;
};

}  // namespace
}  // namespace ota::otactl

int main(int argc, char** argv) {
  return ota::otactl::CommandLine().Main(argc, argv);
}
