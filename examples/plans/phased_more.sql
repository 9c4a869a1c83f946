-- It looks good: half of them.
UPDATE plan SET percent = 50 WHERE name = 'phased';
