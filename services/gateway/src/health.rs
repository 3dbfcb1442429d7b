//! `gateway health`: the image's health check, because images hold no shell and no curl.

use anyhow::Context;
use fleet::Client;

use crate::options::ServeOptions;

/// Asks the gateway that listens on this machine.
///
/// # Errors
/// When the gateway does not answer, or is not well.
pub(crate) async fn check(options: &ServeOptions) -> anyhow::Result<()> {
    let gateway = Client::without_verification(&options.local_url())?;
    gateway.healthy().await.context("not healthy")?;
    println!("healthy");
    Ok(())
}
