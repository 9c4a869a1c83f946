sql
INSERT OR REPLACE INTO device(product, name) SELECT product, 'd2' FROM product;
DELETE FROM device WHERE name='d2';
PRAGMA writable_schema=1;
