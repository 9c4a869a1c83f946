-- Step 7: how far the engine is with a request of many devices, so that a restart goes on with it; devices of a
-- blacklist are not counted against the length of the whitelist; a product's packages must fit another profile too.
ALTER TABLE request ADD COLUMN at_device INTEGER NOT NULL DEFAULT 0; -- the engine's: the last device that was looked at
ALTER TABLE request ADD COLUMN tasks INTEGER NOT NULL DEFAULT 0;     -- the engine's: those that were acted on

CREATE TRIGGER request_progress AFTER INSERT ON request WHEN NEW.at_device <> 0 OR NEW.tasks <> 0 BEGIN
  SELECT RAISE(ABORT, 'request: insert act, plan, product, device and argument only; the engine fills in the rest');
END;

DROP TRIGGER plan_device_place;
CREATE TRIGGER plan_device_place AFTER INSERT ON plan_device BEGIN
  SELECT RAISE(ABORT, 'plan_device.position: is given by the database; to set an order use rank')
    WHERE NEW.position IS NOT NULL;
  SELECT RAISE(ABORT, 'plan_device: the plan is static and no draft any more, so no device can join; make a new plan')
    WHERE (SELECT found FROM before_insert) <> 'same' AND NEW.list = 'white' AND EXISTS (SELECT 1 FROM plan WHERE name
        = NEW.plan AND wanted <> 'draft' AND scope_kind = 'static');
  UPDATE plan_device SET position = 1 + coalesce((SELECT max(position) FROM plan_device WHERE plan = NEW.plan), 0)
    WHERE plan = NEW.plan AND list = NEW.list AND device = NEW.device;
  SELECT RAISE(ABORT, 'plan_device: more devices than the profile allows (profile.max_listed)')
    WHERE NEW.list = 'white' AND EXISTS (SELECT 1 FROM rules_of f WHERE f.product = (SELECT product FROM plan WHERE
        name = NEW.plan) AND
        (SELECT max(position) FROM plan_device WHERE plan = NEW.plan) > f.max_listed
      AND (SELECT count(*) FROM plan_device w WHERE w.plan = NEW.plan AND w.list = 'white') > f.max_listed);
END;

-- What a product has must also fit another profile: the guards of its packages and their files look again.
CREATE TRIGGER product_profile_update AFTER UPDATE ON product WHEN NEW.profile IS NOT OLD.profile BEGIN
  UPDATE package SET name = name WHERE product = NEW.name;
  UPDATE package_file SET path = path WHERE product = NEW.name;
END;
CREATE TRIGGER product_profile_insert AFTER INSERT ON product WHEN EXISTS (SELECT 1 FROM package WHERE product =
    NEW.name) BEGIN
  UPDATE package SET name = name WHERE product = NEW.name;
  UPDATE package_file SET path = path WHERE product = NEW.name;
END;
