pub use table_derive::Table;
