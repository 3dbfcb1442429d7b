//! The bootstrap program: unpacks .deb files and runs a command in a cell.

fn main() {}
