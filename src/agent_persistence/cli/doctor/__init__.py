"""What is wrong with the way to the database, and the SQL that puts it right. Nothing is changed."""
