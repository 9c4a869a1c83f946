-- Everything at once: offers, addresses, blocks and running downloads. Until go.sql, also after a restart.
INSERT INTO setting (name, value) VALUES ('stopped', '2.0 drains the battery')
  ON CONFLICT (name) DO UPDATE SET value = excluded.value;
