//! Keeps notes in an SQLite database: `notes TEXT...` adds one and lists all.

use rusqlite::Connection;

fn main() -> rusqlite::Result<()> {
    let path = std::env::var("NOTES").unwrap_or_else(|_| ":memory:".to_owned());
    let database = Connection::open(path)?;
    database.execute_batch("CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)")?;
    let note: Vec<String> = std::env::args().skip(1).collect();
    if !note.is_empty() {
        database.execute("INSERT INTO notes VALUES (?1)", [note.join(" ")])?;
    }
    println!("SQLite {}", rusqlite::version());
    let mut notes = database.prepare("SELECT text FROM notes ORDER BY rowid")?;
    let texts = notes.query_map([], |row| row.get::<_, String>(0))?;
    for text in texts {
        println!("- {}", text?);
    }
    Ok(())
}
