//! `gateway health`: the image's health check, as images hold no shell and no curl.

use anyhow::Context;
use fleet::Client;

use crate::options::ServeOptions;

/// Asks the gateway that listens on this machine.
///
/// # Errors
/// When it does not answer, or not well.
pub(crate) async fn check(options: &ServeOptions) -> anyhow::Result<()> {
    let gateway = Client::without_verification(&options.local_url())?;
    gateway.healthy().await.context("not healthy")?;
    println!("healthy");
    Ok(())
}
