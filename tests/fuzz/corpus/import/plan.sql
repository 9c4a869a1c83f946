sql
INSERT INTO product(name) VALUES ('lamp');
-- a comment
UPDATE plan SET wanted='active' WHERE name='spring';
