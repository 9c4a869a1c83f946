DELETE FROM setting WHERE name = 'stopped';
