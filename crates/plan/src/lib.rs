//! What Cargo would do, recorded as units.
