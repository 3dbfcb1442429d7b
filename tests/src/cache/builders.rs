//! Remote builders.

use anyhow::Result;

pub fn over_ssh() -> Result<()> {
    Ok(())
}
