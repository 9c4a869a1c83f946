-- After verify.sql, when its device has succeeded (SELECT * FROM package_verifications): refused before.
INSERT INTO plan (name, product, verify_required) VALUES ('after-try', 'meter', 1);
INSERT INTO plan_component (plan, seq, component, "full") VALUES ('after-try', 1, 'main', 'main-2.0');
UPDATE plan SET wanted = 'active' WHERE name = 'after-try';
