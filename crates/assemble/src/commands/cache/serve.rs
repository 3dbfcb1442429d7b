//! `assemble cache serve`: serves packs to the Nix of this machine.

use anyhow::{Result, bail};
use crateyard_cache::serve::Server;
use crateyard_terminal::print_line;

use crate::caches::{CacheArgs, open_packs};
use crate::connection::ConnectionArgs;

/// Serve packs to the Nix of this machine, as a binary cache over HTTP
///
/// Prints its URL when it is ready, and serves until it is stopped. Serves only paths that a
/// trusted key has signed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    caches: CacheArgs,
    /// The port; 0 for any free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs the command.
///
/// # Errors
/// When no cache can be opened, or the port is taken.
pub fn run(args: Args) -> Result<()> {
    let (client, _) = args.connection.client()?;
    crateyard_registry::run(async {
        let addresses: Vec<_> = args.caches.addresses().iter().collect();
        if let Some(other) = addresses.iter().find(|address| !address.needs_server()) {
            bail!("{other} needs no server, because Nix reads it directly");
        }
        let caches = open_packs(&addresses, &client, &args.caches.trusted()).await;
        if caches.is_empty() {
            bail!(
                "there is no cache to serve\n  try: --cache pack:DIR or --cache \
                 oci://REGISTRY/REPOSITORY:TAG"
            );
        }
        let server = Server::bind(caches, args.port).await?;
        print_line(server.url())?;
        Ok(server.run().await?)
    })
}
