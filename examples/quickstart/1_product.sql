-- A product: a pump with one controller. Its devices register themselves with their first report.
-- An import may be repeated: what is there already is left alone.
INSERT INTO product (name, remarks) VALUES ('pump', 'the quick start''s example')
  ON CONFLICT DO NOTHING;
INSERT INTO component (product, name, type) VALUES ('pump', 'main', 'firmware')
  ON CONFLICT DO NOTHING;
