sql
UPDATE engine_state SET writing=1;
INSERT INTO task(id) VALUES (1);
