/// Names a table after a type.
///
/// ```
/// use table::Table;
///
/// #[derive(Table)]
/// struct Entry;
///
/// assert_eq!(Entry::NAME, "entry");
/// ```
pub use table_derive::Table;
