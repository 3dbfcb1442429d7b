CREATE TABLE entries (amount INTEGER);
