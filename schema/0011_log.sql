-- Step 11: a line of the log costs its own bytes, not a page of the index by device.

-- The lines of one batch are of as many devices, and in an index by device each has a leaf of its own: 4 KiB to the
-- disk for a line of 100 bytes. This one is by 1,024 lines, and in them by device, so that what is inserted, and later
-- pruned, lies side by side. Who asks for a device looks once into each 1,024 lines (SQLite's skip-scan), which is
-- 5 ms for a million.
DROP INDEX log_device;
CREATE INDEX log_device ON log(id >> 10, product, device);

-- Why a task is tried again: the views tasks and plan_devices ask for each.
CREATE INDEX log_retrying ON log(product, device, task) WHERE new_state = 'retrying';

-- SQLite skips through an index only where it knows that the first column has few values: a million lines, 1,000 of
-- each number, 500 of a product in those, 5 of a device. ANALYZE is what makes the table sqlite_stat1.
ANALYZE dialect;
DELETE FROM sqlite_stat1 WHERE tbl IN ('dialect', 'log');
INSERT INTO sqlite_stat1(tbl, idx, stat) VALUES ('log', 'log_device', '1000000 1000 500 5');
