-- A lamp made for Alibaba's cloud ('enos' for one made for EnOS); its devices register themselves with their first report.
INSERT INTO product (name, dialect) VALUES ('lamp', 'alibaba')
  ON CONFLICT DO NOTHING;
INSERT INTO component (product, name, type) VALUES ('lamp', 'default', 'firmware')
  ON CONFLICT DO NOTHING;
