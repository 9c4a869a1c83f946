// The guards of schema/0002_guards.sql, each in a bare `sqlite3` process with its defaults, and
// what is refused also with foreign keys and recursive triggers on. Refused means: an error that
// helps, and nothing in the database differs.
#include <tuple>
#include <vector>

#include "store/admin.h"
#include "store/fixture.h"

namespace ota::store {
namespace {

struct Case {
  const char* sql;
  const char* message;  // part of the refusal; nullptr: it is allowed
};

const std::vector<Case> kCases = {
    // keys and references
    {"INSERT INTO product(name, profile) VALUES ('x', 'none')", "there is no such profile"},
    {"UPDATE product SET profile = 'none' WHERE name = 'pump'", "there is no such profile"},
    {"INSERT INTO product(name, dialect) VALUES ('x', 'morse')", "product.dialect"},
    {"INSERT INTO product(name) VALUES ('a b')", "CHECK constraint"},
    {"UPDATE product SET name = 'x' WHERE name = 'pump'", "names are keys"},
    {"DELETE FROM product WHERE name = 'thermo'", "plans use it"},
    {"DELETE FROM product WHERE name = 'pump'", "packages belong to it"},
    {"INSERT INTO product(name) VALUES ('x'); DELETE FROM product WHERE name = 'x'", nullptr},
    {"INSERT OR REPLACE INTO product(name, remarks) VALUES ('pump', 'new')", nullptr},
    {"DELETE FROM profile WHERE name = 'default'", "products use it"},
    {"INSERT INTO component(product, name) VALUES ('none', 'x')", "there is no such product"},
    {"DELETE FROM component WHERE product = 'thermo' AND name = 'radio'",
     "packages are made for it"},
    {"INSERT INTO component(product, name) VALUES ('pump', 'x')", nullptr},
    {"INSERT OR REPLACE INTO component(product, name, alias) VALUES ('pump', 'main', 'Pump')",
     nullptr},
    {"INSERT INTO device(product, name) VALUES ('none', 'x')", "there is no such product"},
    // secrets, gateways, dialects
    {"INSERT INTO product(name, dialect) VALUES ('x', 'alibaba'), ('y', 'enos')", nullptr},
    {"UPDATE product SET dialect = 'enos' WHERE name = 'pump'", nullptr},
    {"UPDATE product SET dialect = 'Enos' WHERE name = 'pump'", "product.dialect"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60))", nullptr},
    {"INSERT INTO device_secret VALUES ('thermo', 'd9', zeroblob(60))", "there is no such device"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', '0123456789abcdef0123456789abcdef')",
     "cannot store TEXT value in BLOB column"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', x'30313233343536373839')",
     "CHECK constraint"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60)); UPDATE device_secret SET "
     "device = 'd2'",
     "names are keys"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60)); DELETE FROM device WHERE "
     "name = 'd1'",
     "it has a secret"},
    {"INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60)); INSERT OR REPLACE INTO "
     "device_secret VALUES ('thermo', 'd1', zeroblob(61)); DELETE FROM device_secret; DELETE FROM "
     "device WHERE name = 'd1'",
     nullptr},
    {"INSERT INTO device(product, name, gateway) VALUES ('thermo', 'd2', 'pump/g1')", nullptr},
    {"INSERT INTO device(product, name, gateway) VALUES ('thermo', 'd2', 'thermo/d2')",
     "must be PRODUCT/DEVICE, another device"},
    {"UPDATE device SET gateway = 'thermo/d1' WHERE name = 'd1'", "must be PRODUCT/DEVICE"},
    {"UPDATE device SET gateway = 'g1'", "must be PRODUCT/DEVICE"},
    {"UPDATE device SET gateway = '/g1'", "must be PRODUCT/DEVICE"},
    {"UPDATE device SET gateway = 'a/b/c'", "must be PRODUCT/DEVICE"},
    {"UPDATE device SET gateway = 'a/b c'", "must be PRODUCT/DEVICE"},
    {"INSERT INTO request(act, plan, at_device) VALUES ('retry', 'spring', 5)",
     "the engine fills in the rest"},
    {"INSERT INTO device_tag VALUES ('thermo', 'none', 'k', 'v')", "no such device"},
    {"INSERT INTO device_tag VALUES ('thermo', 'd1', 'k', 'v')", nullptr},
    {"INSERT INTO device(product, name) VALUES ('thermo', 'd2'); INSERT INTO device_tag VALUES "
     "('thermo', 'd2', 'k', 'v');"
     "DELETE FROM device WHERE name = 'd2'",
     "it has tags"},
    {"DELETE FROM device WHERE name = 'd1'", nullptr},
    // signatures: 004-12
    {"INSERT INTO product(name, public_key) VALUES ('x', 'PEM')", "must be a public key in PEM"},
    {"UPDATE product SET public_key = '' WHERE name = 'pump'", "must be a public key in PEM"},
    {"INSERT OR REPLACE INTO product(name, public_key) VALUES ('pump', 'PEM')",
     "must be a public key in PEM"},
    {"UPDATE package SET manifest = x'00' WHERE name = 'main-3'", "go together"},
    {"UPDATE package SET signature = x'00' WHERE name = 'main-3'", "go together"},
    {"UPDATE package SET key_id = 'k' WHERE name = 'main-3'", "go together"},
    {"UPDATE package SET manifest = x'7b7d', signature = x'', key_id = 'k' WHERE name = 'main-3'",
     "must be 1 to 1024 bytes"},
    {"UPDATE package SET manifest = x'7b7d', signature = x'00', key_id = 'k' WHERE name = 'main-3'",
     nullptr},
    {"UPDATE package SET manifest = x'7b7d', signature = x'00', key_id = 'k' WHERE name = 'main-2'",
     "it cannot change"},
    {"INSERT INTO package(product, name, component, version, signature) VALUES ('thermo', 'x', "
     "'main', '1', x'00')",
     "go together"},
    {"INSERT OR REPLACE INTO package(product, name, component, version, key_id) VALUES ('thermo', "
     "'main-3', 'main', '3.0', 'k')",
     "go together"},
    // packages
    {"INSERT INTO package(product, name, component, version) VALUES ('thermo', 'x', 'none', '1')",
     "no such component"},
    {"UPDATE package SET version = '2.1' WHERE name = 'main-2'", "it cannot change"},
    {"UPDATE package SET version = '2.1' WHERE name = 'main-2d'", "it cannot change"},
    {"UPDATE package SET version = '3.1' WHERE name = 'main-3'", nullptr},
    {"INSERT OR REPLACE INTO package(product, name, component, version) VALUES ('thermo', "
     "'main-2', 'main', '6')",
     "it cannot change"},
    {"INSERT OR REPLACE INTO package(product, name, component, version) VALUES ('thermo', "
     "'main-2', 'main', '2.0')",
     nullptr},
    {"DELETE FROM package WHERE name = 'main-3'", "plans use it"},
    {"DELETE FROM package WHERE name = 'bare'", nullptr},
    {"UPDATE package SET kind = 'delta' WHERE name = 'main-3'", "its files do not fit"},
    {"UPDATE profile SET max_packages = 5 WHERE name = 'default';"
     "INSERT INTO package(product, name, component, version) VALUES ('thermo', 'x', 'main', '1')",
     "profile.max_packages"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'none', 'x')",
     "no such package"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', '/etc/passwd')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a/../../b')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', '..')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a//b')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a/')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a\\b')",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a' || char(10))",
     "store directory"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'a..b/c.bin')",
     nullptr},
    {"INSERT INTO package_file(product, package, source, path) VALUES ('thermo', 'bare', '1', 'x')",
     "must be '' in a full package"},
    {"INSERT INTO package_file(product, package, source, path) VALUES ('thermo', 'main-2d', '', "
     "'x')",
     "the version that it starts from"},
    {"INSERT INTO package_file(product, package, seq, path) VALUES ('thermo', 'main-2', 1, 'x')",
     "cannot change"},
    {"INSERT OR REPLACE INTO package_file(product, package, path) VALUES ('thermo', 'main-2', "
     "'evil')",
     "cannot change"},
    {"INSERT OR REPLACE INTO package_file(product, package, path) VALUES ('thermo', 'main-2', "
     "'thermo/main-2.bin')",
     nullptr},
    {"UPDATE package_file SET path = 'evil' WHERE package = 'main-2'", "cannot change"},
    {"UPDATE package_file SET path = 'better' WHERE package = 'main-3'", nullptr},
    {"UPDATE OR REPLACE package_file SET source = '1.0' WHERE source = '1.1'", "names are keys"},
    {"DELETE FROM package_file WHERE package = 'main-2d'", "cannot change"},
    {"UPDATE profile SET max_files = 1; INSERT INTO package_file(product, package, seq, path)"
     " VALUES ('thermo', 'main-3', 1, 'x')",
     "profile.max_files"},
    // plans
    {"INSERT INTO plan(name, product) VALUES ('x', 'none')", "there is no such product"},
    {"INSERT INTO plan(name, product, wanted) VALUES ('x', 'thermo', 'active')",
     "insert the plan as 'draft'"},
    {"DELETE FROM plan WHERE name = 'spring'", "set wanted='canceled'"},
    {"DELETE FROM plan WHERE name = 'draft'", "rows hang on it"},
    {"DELETE FROM plan_component WHERE plan = 'draft'; DELETE FROM plan WHERE name = 'draft'",
     nullptr},
    {"UPDATE plan SET name = 'x' WHERE name = 'spring'", "names are keys"},
    {"UPDATE OR REPLACE plan SET name = 'spring' WHERE name = 'draft'", "names are keys"},
    {"UPDATE plan SET product = 'pump' WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET scope = 'selected' WHERE name = 'spring'",
     "only wanted, end_ms and additions"},
    {"UPDATE plan SET mode = 'manual' WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET priority = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET battery = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET signal = -7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET free_bytes = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET offer_s = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET download_s = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET install_s = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET reboot_s = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET longest_s = 77 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET retry_max = 7 WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET retry_interval_s = 7 WHERE name = 'spring'",
     "only wanted, end_ms and additions"},
    {"UPDATE plan SET remarks = 'x' WHERE name = 'spring'", "only wanted, end_ms and additions"},
    {"UPDATE plan SET end_ms = 7 WHERE name = 'spring'", nullptr},
    {"UPDATE plan SET wanted = 'active' WHERE name = 'spring'", nullptr},
    {"UPDATE plan SET wanted = 'paused' WHERE name = 'spring'; UPDATE plan SET wanted = 'active' "
     "WHERE name = 'spring'",
     nullptr},
    {"UPDATE plan SET wanted = 'draft' WHERE name = 'spring'", "cannot be a draft again"},
    {"UPDATE plan SET wanted = 'paused' WHERE name = 'draft'", "a draft cannot be paused"},
    {"UPDATE plan SET wanted = 'canceled' WHERE name = 'draft'", nullptr},
    {"UPDATE plan SET wanted = 'canceled' WHERE name = 'spring'; UPDATE plan SET wanted = 'active' "
     "WHERE name = 'spring'",
     "canceled is final"},
    {"UPDATE plan SET wanted = 'canceled' WHERE name = 'spring'; DELETE FROM plan WHERE name = "
     "'spring'",
     "only drafts can be deleted"},
    // The statement of design section 5: an active plan rewritten with an unknown product.
    {"INSERT OR REPLACE INTO plan(name, product) VALUES ('spring', 'none')", "cannot be replaced"},
    {"REPLACE INTO plan(name, product, wanted, remarks, end_ms) VALUES ('spring', 'thermo', "
     "'paused', 'r', 9000000)",
     "cannot be replaced"},
    {"REPLACE INTO plan(name, product, wanted, remarks, end_ms) VALUES ('spring', 'thermo', "
     "'active', 'r', 9000000)",
     nullptr},
    {"INSERT OR IGNORE INTO plan(name, product) VALUES ('spring', 'thermo')", nullptr},
    {"INSERT INTO plan(name, product) VALUES ('spring', 'thermo') ON CONFLICT DO NOTHING", nullptr},
    {"INSERT INTO plan(name, product) VALUES ('spring', 'thermo') ON CONFLICT(name) DO UPDATE SET "
     "end_ms = 5",
     nullptr},
    {"INSERT INTO plan(name, product) VALUES ('spring', 'thermo') ON CONFLICT(name) DO UPDATE SET "
     "priority = 5",
     "only wanted, end_ms and additions"},
    {"INSERT OR REPLACE INTO plan(name, product, priority) VALUES ('draft', 'thermo', 5)", nullptr},
    {"INSERT OR REPLACE INTO plan(name, product) VALUES ('draft', 'pump')",
     "that this product does not have"},
    {"UPDATE plan SET product = 'pump' WHERE name = 'draft'", "components of the old product"},
    // activation
    {"UPDATE plan SET wanted = 'active' WHERE name = 'draft'", nullptr},
    {"INSERT INTO plan(name, product) VALUES ('x', 'thermo'); UPDATE plan SET wanted = 'active' "
     "WHERE name = 'x'",
     "has no component"},
    {"UPDATE plan_component SET full = 'bare' WHERE plan = 'draft'; UPDATE plan SET wanted = "
     "'active' WHERE name = 'draft'",
     "has no files"},
    {"UPDATE profile SET dynamic_unique = 'none';"
     "INSERT INTO plan_source VALUES ('draft', 'main', '1');"
     "INSERT OR REPLACE INTO plan_component(plan, seq, component, full) VALUES ('draft', 1, "
     "'radio', 'radio-2');"
     "UPDATE plan SET wanted = 'active' WHERE name = 'draft'",
     "plan_source names a component"},
    // what hangs on plans
    {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('none', 1, 'main', 'main-2')",
     "no such plan"},
    {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('draft', 2, 'none', 'main-2')",
     "no such component"},
    {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('draft', 2, 'radio', "
     "'main-2')",
     "kind 'full'"},
    {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('draft', 2, 'radio', 'none')",
     "kind 'full'"},
    {"UPDATE plan_component SET full = 'main-2d' WHERE plan = 'draft'", "kind 'full'"},
    {"UPDATE plan_component SET full = 'pump-2' WHERE plan = 'draft'", "kind 'full'"},
    {"UPDATE plan_component SET full = NULL, delta = 'main-2' WHERE plan = 'draft'",
     "kind 'delta'"},
    {"UPDATE plan_component SET delta = 'main-2d' WHERE plan = 'draft'", "same version"},
    {"UPDATE plan_component SET full = 'main-2' WHERE plan = 'draft'", nullptr},
    {"INSERT INTO plan_component(plan, seq, component, full) VALUES ('spring', 3, 'main', "
     "'main-3')",
     "UNIQUE"},
    {"INSERT OR REPLACE INTO plan_component(plan, seq, component, full) VALUES ('spring', 3, "
     "'main', 'main-3')",
     "no draft any more"},
    {"INSERT OR REPLACE INTO plan_component(plan, seq, component, full) VALUES ('spring', 1, "
     "'main', 'main-3')",
     "no draft any more"},
    {"INSERT OR REPLACE INTO plan_component VALUES ('spring', 1, 'main', 'main-2', 'main-2d')",
     nullptr},
    {"UPDATE plan_component SET delta = NULL WHERE plan = 'spring'", "no draft any more"},
    {"DELETE FROM plan_component WHERE plan = 'spring' AND seq = 2", "no draft any more"},
    {"INSERT INTO plan_source VALUES ('draft', 'radio', '1')", "has no such component"},
    {"INSERT INTO plan_source VALUES ('spring', 'main', '0.9')", "no draft any more"},
    {"INSERT OR REPLACE INTO plan_source VALUES ('spring', 'main', '1.0')", nullptr},
    {"DELETE FROM plan_source WHERE plan = 'spring'", "no draft any more"},
    {"INSERT INTO plan_source VALUES ('draft', 'main', '1'); DELETE FROM plan_component WHERE plan "
     "= 'draft'",
     "source versions hang on it"},
    {"INSERT INTO plan_device(plan, device) VALUES ('none', 'x')", "no such plan"},
    {"INSERT INTO plan_device(plan, device, rank) VALUES ('spring', 'never-seen', 2)", nullptr},
    {"INSERT INTO plan_device(plan, list, device) VALUES ('spring', 'black', 'd2')", nullptr},
    {"DELETE FROM plan_device WHERE plan = 'spring'", "lists can grow"},
    {"UPDATE plan_device SET rank = 9 WHERE plan = 'spring'", "lists can grow"},
    {"INSERT OR REPLACE INTO plan_device(plan, device, rank) VALUES ('spring', 'd1', 9)",
     "lists can grow"},
    {"INSERT OR REPLACE INTO plan_device(plan, device, rank) VALUES ('spring', 'd1', 1)", nullptr},
    {"UPDATE plan_text SET text = 'x' WHERE plan = 'spring'", "no draft any more"},
    {"INSERT INTO plan_text VALUES ('spring', 'de', 'x')", "no draft any more"},
    {"INSERT OR REPLACE INTO plan_text VALUES ('spring', 'en', 'x')", "no draft any more"},
    {"DELETE FROM plan_text", "no draft any more"},
    {"INSERT OR REPLACE INTO plan_tag VALUES ('spring', 'k', 'x')", "no draft any more"},
    {"DELETE FROM plan_tag", "no draft any more"},
    {"INSERT INTO plan_tag VALUES ('draft', 'k', 'x'); UPDATE plan_tag SET value = 'y' WHERE plan "
     "= 'draft'",
     nullptr},
    // what hangs on a plan, a product or a profile since step 4
    {"INSERT INTO plan_retry VALUES ('none', 'timeout')", "there is no such plan"},
    {"INSERT INTO plan_retry VALUES ('draft', 'timeout')", nullptr},
    {"INSERT INTO plan_retry VALUES ('spring', 'timeout')", "no draft any more"},
    {"INSERT OR REPLACE INTO plan_retry VALUES ('spring', 'write_failed')", nullptr},
    {"UPDATE plan_retry SET reason = 'timeout'", "names are keys"},
    {"DELETE FROM plan_retry", "no draft any more"},
    {"INSERT INTO plan_match VALUES ('none', 'k', 'v')", "there is no such plan"},
    {"INSERT INTO plan_match VALUES ('draft', 'k', 'v')", nullptr},
    {"INSERT INTO plan_match VALUES ('spring', 'k', 'w')", "no draft any more"},
    {"INSERT OR REPLACE INTO plan_match VALUES ('spring', 'k', 'v')", nullptr},
    {"UPDATE plan_match SET value = 'w'", "names are keys"},
    {"DELETE FROM plan_match", "no draft any more"},
    {"INSERT INTO plan_retry VALUES ('draft', 'timeout'); DELETE FROM plan_component WHERE plan = "
     "'draft'; DELETE FROM plan WHERE name = 'draft'",
     "rows hang on it; delete them first (plan_retry)"},
    {"INSERT INTO file_format VALUES ('none', '.x')", "there is no such profile"},
    {"INSERT OR REPLACE INTO file_format VALUES ('enos', '.x')", nullptr},
    {"UPDATE file_format SET suffix = '.y' WHERE profile = 'enos'", "names are keys"},
    {"DELETE FROM file_format", nullptr},
    {"INSERT INTO hold(product) VALUES ('none')", "there is no such product"},
    {"INSERT OR REPLACE INTO hold(product, reason) VALUES ('thermo', 'y')", nullptr},
    {"UPDATE hold SET product = 'pump'", "names are keys"},
    {"UPDATE hold SET until_ms = 7", nullptr},
    {"DELETE FROM hold", nullptr},
    {"INSERT INTO telemetry VALUES ('none', 'signal', '{device}', '')", "there is no such product"},
    {"INSERT OR REPLACE INTO telemetry VALUES ('thermo', 'battery', 'x', '')",
     "must contain {device}"},
    {"UPDATE telemetry SET topic = 'x'", "must contain {device}"},
    {"UPDATE telemetry SET value = 'signal'", "names are keys"},
    {"DELETE FROM telemetry", nullptr},
    {"INSERT INTO product(name) VALUES ('x'); INSERT INTO hold(product) VALUES ('x');"
     "DELETE FROM product WHERE name = 'x'",
     "it or devices of it are held"},
    {"INSERT INTO product(name) VALUES ('x'); INSERT INTO telemetry VALUES ('x', 'battery', "
     "'{device}', ''); DELETE FROM product WHERE name = 'x'",
     "telemetry belongs to it"},
    {"INSERT OR REPLACE INTO plan(name, product, remarks, end_ms, rate) VALUES ('spring', "
     "'thermo', 'r', 9000000, 5)",
     "it is no draft any more"},
    {"INSERT OR REPLACE INTO plan(name, product, remarks, end_ms, wanted) VALUES ('spring', "
     "'thermo', 'r', 9000000, 'active')",
     nullptr},
    {"UPDATE plan_device SET position = 9", "to set an order use rank"},
    // settings
    {"INSERT INTO setting VALUES ('log_days', '30')", nullptr},
    {"INSERT INTO setting VALUES ('log_days', '0')", "from 1 to 3650"},
    {"INSERT INTO setting VALUES ('log_days', '3651')", "from 1 to 3650"},
    {"INSERT INTO setting VALUES ('log_days', '1e2')", "from 1 to 3650"},
    {"INSERT INTO setting VALUES ('log_days', '')", "from 1 to 3650"},
    {"INSERT INTO setting VALUES ('download_bytes_per_second', '-1')", "from 0"},
    {"INSERT INTO setting VALUES ('download_connections', '10')", "must be log_days, download"},
    {"INSERT INTO setting VALUES ('colour', 'red')", "setting.name"},
    // requests
    {"INSERT INTO request(act, plan) VALUES ('cancel', 'spring')", "names no device"},
    {"INSERT INTO request(act, product, device) VALUES ('cancel', 'thermo', 'd1')", nullptr},
    {"INSERT INTO request(act, plan, device) VALUES ('cancel', 'spring', 'd1')", nullptr},
    {"INSERT INTO request(act) VALUES ('cancel')", "names no device"},
    {"INSERT INTO request(act, product, device) VALUES ('release', 'thermo', 'd1')", nullptr},
    {"INSERT INTO request(act) VALUES ('release')", nullptr},
    {"INSERT INTO request(act) VALUES ('dance')", "request.act"},
    {"INSERT INTO request(act, plan, device) VALUES ('cancel', 'none', 'd1')",
     "there is no such plan"},
    {"INSERT INTO request(act, device) VALUES ('cancel', 'd1')", "name its product"},
    {"INSERT INTO request(act, product, device) VALUES ('cancel', 'thermo', 'none')",
     "no such device"},
    {"INSERT INTO request(act, product, device) VALUES ('cancel', 'none', 'd1')",
     "no such product"},
    {"INSERT INTO request(act, plan, product, device) VALUES ('cancel', 'spring', 'pump', 'd1')",
     "another product"},
    {"INSERT INTO request(act, plan) VALUES ('dance', 'spring')", "request.act"},
    {"INSERT INTO request(act, plan, state) VALUES ('release', 'spring', 'done')",
     "the engine fills in"},
    {"INSERT INTO request(act, plan) VALUES ('release', 'spring'); UPDATE request SET state = "
     "'done'",
     "cannot be changed"},
    {"INSERT INTO request(act, plan) VALUES ('release', 'spring'); DELETE FROM request", nullptr},
    {"INSERT INTO request(id, act, plan) VALUES (5, 'release', 'spring');"
     "INSERT OR REPLACE INTO request(id, act, plan) VALUES (5, 'release', 'spring')",
     "cannot be replaced"},
    // who and what
    {"DELETE FROM journal", "cannot be deleted"},
    {"UPDATE journal SET act = 'x'", "cannot be changed"},
    {"INSERT OR REPLACE INTO journal SELECT id, 0, NULL, 'x', 'x', NULL, NULL, '' FROM journal",
     "cannot be changed"},
    {"INSERT INTO import(at_ms, who, host, file, sha256, open) VALUES (1, 'a', 'b', 'c', 'd', 0); "
     "DELETE FROM import",
     "cannot be deleted"},
    {"INSERT INTO import(at_ms, who, host, file, sha256, open) VALUES (1, 'a', 'b', 'c', 'd', 0);"
     "UPDATE import SET who = 'x'",
     "cannot be changed"},
    {"INSERT INTO import(at_ms, who, host, file, sha256) VALUES (1, 'a', 'b', 'c', 'd'); UPDATE "
     "import SET open = 0",
     nullptr},
    {"DELETE FROM before_insert", "belongs to the triggers"},
    // one of each text that no other case reads
    {"INSERT INTO product(name) VALUES ('x'); INSERT INTO component(product, name) VALUES ('x', "
     "'m'); DELETE FROM product WHERE name = 'x'",
     "product: components belong to it"},
    {"INSERT INTO product(name) VALUES ('x'); INSERT INTO device(product, name) VALUES ('x', 'd');"
     "DELETE FROM product WHERE name = 'x'",
     "product: devices belong to it"},
    {"INSERT INTO product(name) VALUES ('x'); UPDATE engine_state SET writing = 1;"
     "INSERT INTO device_state(product, name, registered_ms, seen_ms) VALUES ('x', 'd', 1, 1);"
     "UPDATE engine_state SET writing = 0; DELETE FROM product WHERE name = 'x'",
     "product: devices of it have registered"},
    {"INSERT INTO component(product, name) VALUES ('thermo', 'x'); INSERT INTO package(product, "
     "name, component, version) VALUES ('thermo', 'px', 'x', '1'); INSERT INTO plan_component(plan,"
     " seq, component, full) VALUES ('draft', 2, 'x', 'px'); UPDATE package SET component = 'main' "
     "WHERE name = 'px'; DELETE FROM component WHERE name = 'x'",
     "component: plans upgrade it"},
    {"UPDATE device SET name = 'x'", "device: names are keys"},
    {"INSERT INTO device_tag VALUES ('thermo', 'd1', 'k', 'v'); UPDATE device_tag SET key = 'x'",
     "device_tag: names are keys"},
    {"INSERT INTO package_file(product, package, path) VALUES ('thermo', 'bare', 'x');"
     "DELETE FROM package WHERE name = 'bare'",
     "package: it has files"},
    {"UPDATE package SET component = 'radio' WHERE name = 'main-3'; UPDATE plan SET wanted = "
     "'active' WHERE name = 'draft'",
     "plan_component.full does not name a full package of its component"},
    {"INSERT INTO package(product, name, component, kind, version) VALUES ('thermo', 'x',"
     " 'main', 'delta', '3.0'); UPDATE plan_component SET delta = 'x' WHERE plan = 'draft';"
     "UPDATE package SET component = 'radio' WHERE name = 'x'; UPDATE plan SET wanted = 'active' "
     "WHERE name = 'draft'",
     "plan_component.delta does not name a delta package of its component"},
    {"INSERT INTO package(product, name, component, kind, version) VALUES ('thermo', 'x', 'main', "
     "'delta', '3.0'); UPDATE plan_component SET delta = 'x' WHERE plan = 'draft';"
     "UPDATE package SET version = '3.1' WHERE name = 'x'; UPDATE plan SET wanted = 'active' WHERE "
     "name = 'draft'",
     "lead to different versions"},
    {"UPDATE plan_component SET seq = 9 WHERE plan = 'draft'", "plan_component: names are keys"},
    {"INSERT INTO plan_source VALUES ('none', 'main', '1')", "plan_source.plan: there is no such"},
    {"INSERT INTO plan_source VALUES ('draft', 'main', '1'); UPDATE plan_source SET version = '2' "
     "WHERE plan = 'draft'",
     "plan_source: names are keys"},
    {"INSERT INTO plan_text VALUES ('none', 'en', 'x')", "plan_text.plan: there is no such plan"},
    {"INSERT INTO plan_text VALUES ('draft', 'en', 'x'); UPDATE plan_text SET lang = 'de' WHERE "
     "plan = 'draft'",
     "plan_text: names are keys"},
    {"INSERT INTO plan_tag VALUES ('none', 'k', 'v')", "plan_tag.plan: there is no such plan"},
    {"INSERT INTO plan_tag VALUES ('draft', 'k', 'v'); UPDATE plan_tag SET key = 'l' WHERE plan = "
     "'draft'",
     "plan_tag: names are keys"},
    {"INSERT INTO plan_device(plan, device) VALUES ('draft', 'd1'); UPDATE plan_device SET device "
     "= 'd2' WHERE plan = 'draft'",
     "plan_device: names are keys"},
    {"INSERT INTO plan_source VALUES ('draft', 'main', '1'); UPDATE plan_component SET component = "
     "'radio', full = 'radio-2' WHERE plan = 'draft'; DELETE FROM plan_component WHERE plan = "
     "'draft'; DELETE FROM plan WHERE name = 'draft'",
     "delete them first (plan_source)"},
    {"DELETE FROM plan_component WHERE plan = 'draft'; INSERT INTO plan_device(plan, device) "
     "VALUES ('draft', 'd1'); DELETE FROM plan WHERE name = 'draft'",
     "delete them first (plan_device)"},
    {"DELETE FROM plan_component WHERE plan = 'draft'; INSERT INTO plan_text VALUES ('draft', "
     "'en', 'x'); DELETE FROM plan WHERE name = 'draft'",
     "delete them first (plan_text)"},
    {"DELETE FROM plan_component WHERE plan = 'draft'; INSERT INTO plan_tag VALUES ('draft', 'k', "
     "'v'); DELETE FROM plan WHERE name = 'draft'",
     "delete them first (plan_tag)"},
    {"INSERT INTO import(id, at_ms, who, host, file, sha256, open) VALUES (7, 1, 'a', 'b', 'c', "
     "'d', 0); INSERT OR REPLACE INTO import(id, at_ms, who, host, file, sha256, open) VALUES (7, "
     "1, 'x', 'b', 'c', 'd', 0)",
     "import: it is written by otactl import and cannot be replaced"},
    {"INSERT INTO plan_tag VALUES ('draft', 'a', ''), ('draft', 'b', ''); UPDATE profile SET "
     "max_tags = 1; UPDATE plan SET wanted = 'active' WHERE name = 'draft'",
     "plan_tag has more tags than the profile allows"},
    {"INSERT INTO setting VALUES ('scan_s', '600'); UPDATE setting SET name = 'log_days'",
     "setting: names are keys"},
    {"UPDATE profile SET name = 'x' WHERE name = 'decada'", "profile: names are keys"},
    // state tables
    {"INSERT INTO device_state(product, name, registered_ms, seen_ms) VALUES ('thermo', 'x', 1, 1)",
     "what people know of a device goes into device"},
    {"DELETE FROM device_state", "device_state is written by the engine"},
    {"UPDATE device_version SET version = '9'", "device_version is written by the engine"},
    {"UPDATE package_state SET state = 'ready'", "package_state is written by the engine"},
    {"UPDATE plan_state SET state = 'active'", "insert into request (act 'release')"},
    {"DELETE FROM plan_state", "plan_state is written by the engine"},
    {"UPDATE task SET state = 'canceled'", "to cancel a task insert into request (act 'cancel')"},
    {"REPLACE INTO task SELECT * FROM task", "task is written by the engine"},
    {"DELETE FROM task", "task is written by the engine"},
    {"DELETE FROM task_component", "task_component is written by the engine"},
    {"DELETE FROM log", "log is written by the engine"},
    {"INSERT INTO log(at_ms, event) VALUES (1, 'x')", "log is written by the engine"},
    {"INSERT INTO zone VALUES ('Mars/Base')", "zone is written by the engine"},
    {"UPDATE zone SET name = 'x'", "zone is written by the engine"},
    {"DELETE FROM zone", "zone is written by the engine"},
    {"INSERT INTO plan_member VALUES ('spring', 1, 2)", "to reach more devices raise plan.percent"},
    {"UPDATE plan_member SET hash = 2", "plan_member is written by the engine"},
    {"DELETE FROM plan_member", "plan_member is written by the engine"},
    {"INSERT INTO device_streak VALUES (1, 'main', '9', 1, 0, NULL)",
     "to let a device go insert into request"},
    {"UPDATE device_streak SET aside = 0", "device_streak is written by the engine"},
    {"DELETE FROM device_streak", "device_streak is written by the engine"},
    {"INSERT INTO dialect VALUES ('lwm2m')", "dialect is written by the engine"},
    {"UPDATE dialect SET name = 'x'", "dialect is written by the engine"},
    {"DELETE FROM dialect", "dialect is written by the engine"},
    {"INSERT INTO device_topology VALUES ('thermo', 'd2', 'hub/h1')", "set device.gateway"},
    {"UPDATE device_topology SET gateway = 'x/y'", "device_topology is written by the engine"},
    {"DELETE FROM device_topology", "device_topology is written by the engine"},
    {"INSERT INTO explanation VALUES (1, 'spring', 9, 'x', 1, '', '', '', NULL)",
     "to ask insert into request (act 'explain')"},
    {"UPDATE explanation SET ok = 1", "explanation is written by the engine"},
    {"DELETE FROM explanation", "explanation is written by the engine"},
    {"DELETE FROM engine_health", "engine_health is written by the engine"},
    {"DELETE FROM engine_state", "engine_state is written by the engine"},
    {"UPDATE engine_state SET commit_no = 7", "engine_state is written by the engine"},
    {"UPDATE engine_state SET commit_no = 7, writing = 1", "engine_state is written by the engine"},
    {"REPLACE INTO engine_state VALUES (1, 'x', 0, 0, 0, 1)",
     "engine_state is written by the engine"},
};

// Rows in every state table, so that UPDATE and DELETE have something to hit.
constexpr const char* kEngine = R"(
BEGIN;
UPDATE engine_state SET writing = 1;
INSERT INTO device_state(id, product, name, registered_ms, seen_ms) VALUES (1, 'thermo', 'd1', 1, 1);
INSERT INTO device_version VALUES (1, 'main', '1.0', 0, 1);
INSERT INTO package_state(product, package, source, seq, path, state) VALUES ('thermo', 'main-2', '', 0, 'thermo/main-2.bin', 'hashing');
INSERT INTO plan_state(plan, state, "order", activated_ms) VALUES ('spring', 'active', 1, 1);
INSERT INTO task(id, name, plan, device_id, state, created_ms) VALUES (1, 't1', 'spring', 1, 'offered', 1);
INSERT INTO task_component(task_id, seq, name, state, target) VALUES (1, 0, 'main', 'current', '2.0');
INSERT INTO log(at_ms, event) VALUES (1, 'offer');
INSERT INTO zone VALUES ('UTC');
INSERT INTO plan_member VALUES ('spring', 1, 1);
INSERT INTO device_streak VALUES (1, 'main', '2.0', 3, 1, NULL);
INSERT INTO device_topology VALUES ('thermo', 'd1', 'hub/h1');
INSERT INTO explanation VALUES (1, 'spring', 0, 'stopped', 0, 'stopped', '', '', NULL);
INSERT INTO engine_health VALUES (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, '');
UPDATE engine_state SET writing = 0;
COMMIT;
)";

// After all tests: each text with which the schema refuses people was said by a bare shell.
class EveryRefusalWasRead : public testing::Environment {
 public:
  void TearDown() override {
    if (GTEST_FLAG_GET(filter) != "*") {
      return;
    }
    const std::string schema = StoreTest::Read(OTA_SOURCE_DIR "/schema/schema.sql");
    static constexpr std::string_view kRaise = "RAISE(ABORT,";
    for (std::size_t at = 0; (at = schema.find(kRaise, at)) != std::string::npos;) {
      std::string text;
      for (at = schema.find('\'', at) + 1; schema[at] != '\'' || schema[at + 1] == '\''; ++at) {
        text += schema[at];
        at += schema[at] == '\'' ? 1U : 0U;
      }
      if (text.find("the product does not have a component of the plan") != std::string::npos) {
        continue;  // a component that a plan names cannot go: other guards hold that
      }
      EXPECT_TRUE(WasSaid(text)) << "no test reads: " << text;
    }
    for (const std::string_view table : AdminTables()) {
      const std::size_t from = schema.find("CREATE TABLE " + std::string(table) + " (");
      const std::string columns = schema.substr(from, schema.find(") STRICT", from) - from);
      static constexpr std::string_view kCheck = "CHECK (";
      for (std::size_t at = 0; (at = columns.find(kCheck, at)) != std::string::npos;) {
        at += kCheck.size();
        const std::size_t begin = at;
        for (int open = 1; open > 0; ++at) {
          open += columns[at] == '(' ? 1 : columns[at] == ')' ? -1 : 0;
        }
        const std::string text = columns.substr(begin, at - 1 - begin);
        EXPECT_TRUE(WasSaid("CHECK constraint failed: " + text)) << table << ": " << text;
      }
    }
  }

 private:
  static bool WasSaid(const std::string& text) {
    return StoreTest::said_.find(text) != std::string::npos;
  }
};
const auto* const registered = testing::AddGlobalTestEnvironment(new EveryRefusalWasRead);

class Guards : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    // Rows of step 4 too, on the plan that becomes active.
    std::string people = kPeople;
    people.insert(people.find("UPDATE plan SET wanted"),
                  "INSERT INTO plan_retry VALUES ('spring', 'write_failed');\n"
                  "INSERT INTO plan_match VALUES ('spring', 'k', 'v');\n"
                  "INSERT INTO file_format VALUES ('enos', '.x');\n"
                  "INSERT INTO hold(product, reason) VALUES ('thermo', 'x');\n"
                  "INSERT INTO telemetry VALUES ('thermo', 'battery', 't/{device}', '/b');\n");
    Place(people + kEngine);
    std::filesystem::copy_file(path(), directory_ / "base.db");
  }
  void Restore() {
    std::filesystem::copy_file(directory_ / "base.db", path(),
                               std::filesystem::copy_options::overwrite_existing);
  }
};

TEST_F(Guards, EveryGuardHoldsInABareShell) {
  std::vector<std::string> scripts;
  for (const Case& one : kCases) {
    scripts.push_back(std::string("BEGIN;\n") + one.sql + ";\nROLLBACK;");
  }
  const std::vector<std::string> said = Shell(scripts);
  for (std::size_t i = 0; i < kCases.size(); ++i) {
    SCOPED_TRACE(kCases[i].sql);
    if (kCases[i].message == nullptr) {
      EXPECT_EQ(said[i], "");
      continue;
    }
    EXPECT_NE(said[i].find(kCases[i].message), std::string::npos) << said[i];
  }
}

TEST_F(Guards, WhatIsRefusedLeavesNothingBehindWhateverThePragmas) {
  for (const char* pragmas : {"", "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;\n"}) {
    std::vector<std::string> scripts{std::string(pragmas) + ".sha3sum --schema"};
    for (const Case& one : kCases) {
      if (one.message != nullptr && std::string_view(one.sql).find(';') == std::string_view::npos) {
        scripts.push_back(one.sql + std::string(";\n.sha3sum --schema"));
      }
    }
    const std::vector<std::string> said = Shell(scripts);
    const std::string& untouched = said.front();
    ASSERT_GT(untouched.size(), 50U) << untouched;
    for (std::size_t i = 1; i < said.size(); ++i) {
      SCOPED_TRACE(pragmas + scripts[i]);
      EXPECT_NE(said[i].find("rror"), std::string::npos) << said[i];
      EXPECT_TRUE(said[i].ends_with(untouched)) << said[i];
    }
  }
}

TEST_F(Guards, AnAnsweredRequestStays) {
  Shell(
      "INSERT INTO request(act, plan) VALUES ('release', 'spring');"
      "UPDATE engine_state SET writing = 1;"
      "UPDATE request SET state = 'done', answered_ms = 1;"
      "UPDATE engine_state SET writing = 0;");
  EXPECT_NE(Shell("DELETE FROM request").find("answered ones are history"), std::string::npos);
  EXPECT_EQ(Shell("SELECT state FROM request"), "done\n");
}

TEST_F(Guards, OnlyOneTaskOfADeviceIsOpenEvenForTheEngine) {
  const std::string said = Shell(
      "UPDATE engine_state SET writing = 1;"
      "INSERT INTO task(name, plan, device_id, state, created_ms) VALUES ('t2', 'draft', 1, "
      "'waiting', 1);");
  EXPECT_NE(said.find("UNIQUE constraint failed: task.device_id"), std::string::npos) << said;
}

TEST_F(Guards, AWrittenRowIsJournaledWhenAValueDiffersAndOnlyThen) {
  const auto changes = [&](const std::string& sql) {
    Restore();
    const std::string last = Shell("SELECT max(id) FROM journal");
    const std::string said = Shell(sql);
    EXPECT_EQ(said, "") << sql;
    return Shell("SELECT \"table\", act, product, key, detail, import FROM journal WHERE id > " +
                 last);
  };
  EXPECT_EQ(changes("UPDATE plan SET wanted = 'paused' WHERE name = 'spring'"),
            "plan|update|thermo|spring|wanted active -> paused|\n");
  EXPECT_EQ(changes("UPDATE plan SET wanted = 'active' WHERE name = 'spring'"), "");
  EXPECT_EQ(changes("INSERT OR REPLACE INTO plan_device(plan, list, device, rank) VALUES "
                    "('spring', 'white', 'd1', 1)"),
            "");
  EXPECT_EQ(changes("INSERT OR IGNORE INTO plan_device(plan, list, device, rank) VALUES ('spring', "
                    "'white', 'd1', 7)"),
            "");
  EXPECT_EQ(
      changes(
          "INSERT INTO plan_device(plan, list, device, rank) VALUES ('spring', 'white', 'd1', 1)"
          " ON CONFLICT(plan, list, device) DO UPDATE SET rank = excluded.rank"),
      "");
  EXPECT_EQ(
      changes(
          "INSERT INTO plan_device(plan, list, device, rank) VALUES ('spring', 'white', 'd2', 1)"),
      "plan_device|insert|thermo|spring|white d2|\n");
  EXPECT_EQ(changes("INSERT OR REPLACE INTO product(name, remarks) VALUES ('pump', 'x')"),
            "product|insert|pump|pump||\n");
  EXPECT_EQ(changes("INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60))"),
            "device_secret|insert|thermo|d1||\n");
  EXPECT_EQ(changes("INSERT INTO device_secret VALUES ('thermo', 'd1', zeroblob(60));"
                    "REPLACE INTO device_secret VALUES ('thermo', 'd1', zeroblob(60));"
                    "UPDATE device_secret SET sealed = zeroblob(61); DELETE FROM device_secret"),
            "device_secret|insert|thermo|d1||\ndevice_secret|update|thermo|d1||\n"
            "device_secret|delete|thermo|d1||\n");
  EXPECT_EQ(changes("DELETE FROM package WHERE name = 'bare'"), "package|delete|thermo|bare||\n");
  EXPECT_EQ(changes("INSERT INTO setting VALUES ('log_days', '7')"),
            "setting|insert||log_days|7|\n");
  EXPECT_EQ(changes("INSERT INTO hold(product, device, reason) VALUES ('thermo', 'd1', 'audit')"),
            "hold|insert|thermo|d1|audit|\n");
  EXPECT_EQ(changes("INSERT OR REPLACE INTO hold(product, reason) VALUES ('thermo', 'x')"), "");
  EXPECT_EQ(changes("UPDATE hold SET reason = 'y'"), "hold|update|thermo||y|\n");
  EXPECT_EQ(changes("DELETE FROM telemetry"), "telemetry|delete|thermo|battery|t/{device}|\n");
  EXPECT_EQ(changes("INSERT INTO plan_match VALUES ('draft', 'k', 'v')"),
            "plan_match|insert|thermo|draft|k=v|\n");
  EXPECT_EQ(changes("INSERT INTO plan_retry VALUES ('draft', 'timeout')"),
            "plan_retry|insert|thermo|draft|timeout|\n");
  EXPECT_EQ(changes("UPDATE profile SET loop_max = 9 WHERE name = 'enos'"),
            "profile|update||enos||\n");
  EXPECT_EQ(changes("UPDATE plan SET rate = 9 WHERE name = 'spring'"),
            "plan|update|thermo|spring||\n");
  EXPECT_EQ(changes("INSERT INTO request(act, plan) VALUES ('release', 'spring')"),
            "request|insert||spring|release 1|\n");
  EXPECT_EQ(changes("BEGIN; INSERT INTO import(at_ms, who, host, file, sha256) VALUES (1, 'a', "
                    "'b', 'c', 'd');"
                    "UPDATE device SET retired = 1; UPDATE import SET open = 0; COMMIT"),
            "device|update|thermo|d1||1\n");
}

}  // namespace
}  // namespace ota::store
