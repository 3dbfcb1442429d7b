//! A crate of crates.io whose build script downloads an archive: `utoipa-swagger-ui`, by which web
//! services show their interface.

use super::contains;
use super::downloads::{said, sha256};
use crate::nix;
use crate::served::serve;
use crate::trial::trial_with;
use crate::workspaces::{attribute, binary, small_with};
use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The tests of this file.
pub(super) fn trials() -> Vec<Trial> {
    vec![trial_with(
        "compose::a_build_script_of_crates_io_gets_its_download".to_owned(),
        &["python3"],
        downloaded,
    )]
}

/// Prints the page that the build script took from the archive.
const MAIN: &str = r#"fn main() {
    let config = std::sync::Arc::new(utoipa_swagger_ui::Config::from("/api.json"));
    let page = utoipa_swagger_ui::serve("index.html", config).unwrap();
    print!("{}", String::from_utf8_lossy(&page.unwrap().bytes));
}
"#;

/// The address in the build script.
const ADDRESS: &str = "https://github.com/swagger-api/swagger-ui/archive/refs/tags/v5.17.14.zip";

/// Packs a page as the project's releases are.
fn archive() -> Result<TempDir> {
    let place = tempfile::tempdir()?;
    let dist = place.path().join("tree/swagger-ui-5.17.14/dist");
    fs::create_dir_all(&dist)?;
    fs::write(dist.join("index.html"), "<p>the interface</p>")?;
    let script = "window.ui = SwaggerUIBundle({ url: \"a\", deepLinking: true, });\n";
    fs::write(dist.join("swagger-initializer.js"), script)?;
    let pack = "import shutil; shutil.make_archive('v5.17.14', 'zip', 'tree')";
    duct::cmd!("python3", "-c", pack).dir(place.path()).run()?;
    Ok(place)
}

/// Without the archive, the script fails. With `downloads` and a variable, `assemble lock` pins the
/// archive, and the script finds it where the variable points. Only Nix does that.
fn downloaded() -> Result<()> {
    let archive = archive()?;
    let url = serve(archive.path(), None)?;
    let dependencies = "utoipa-swagger-ui = \"=9.0.2\"\n";
    let workspace = small_with("interface", MAIN, "", dependencies)?;
    let failed = nix::build_fails(&attribute(workspace.path(), "images.interface"))?;
    contains(&failed, &["failed to download Swagger UI", ADDRESS])?;
    add(
        workspace.path(),
        &format!(
            "\n[crates.utoipa-swagger-ui]\ndownloads = [{{ url = \"{url}/v5.17.14.zip\", path = \
             \"ui.zip\" }}]\nenvironment = {{ SWAGGER_UI_DOWNLOAD_URL = \
             \"file:///cargo/registry/utoipa-swagger-ui-9.0.2/ui.zip\" }}\n"
        ),
    )?;
    let told = said(&workspace, &["lock", "--without-debian"], true)?;
    contains(&told, &[&sha256(&archive.path().join("v5.17.14.zip"))?])?;
    let page = duct::cmd!(binary(workspace.path(), "interface")?).read()?;
    ensure!(page == "<p>the interface</p>", "the page is {page:?}");

    let name = "the download of `ui.zip`";
    let other = said(&workspace, &["build", "--engine", "cargo"], false)?;
    contains(&other, &[&format!("this engine can't make {name}")])?;
    let other = said(&workspace, &["dockerfile"], false)?;
    contains(
        &other,
        &[&format!("{name} of the crate `utoipa-swagger-ui`")],
    )
}

fn add(workspace: &Path, text: &str) -> Result<()> {
    let images = workspace.join("images.toml");
    Ok(fs::write(&images, fs::read_to_string(&images)? + text)?)
}
