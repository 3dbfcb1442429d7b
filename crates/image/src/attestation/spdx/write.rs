//! Writes a bill of materials as an SPDX document.

use std::collections::BTreeSet;

use crateyard_text::time;

use super::{
    Checksum, CreationInfo, DOCUMENT_ID, Document, ExternalDocument, ExternalRef, ExtractedLicense,
    IMAGE_ID, Package, Relationship, SOURCE, UNKNOWN,
};
use crate::attestation::bom::{Bom, Component, IMAGE, Kind, Party, Relation};

/// Writes a bill of materials as a document.
pub(in crate::attestation) fn document(bom: &Bom) -> Document {
    let image = &bom.components[IMAGE];
    let mut relationships: BTreeSet<Relationship> = bom
        .relations
        .iter()
        .map(|(from, how, to)| relationship(from, *how, to))
        .collect();
    relationships.insert(relate(
        DOCUMENT_ID.to_owned(),
        "DESCRIBES",
        IMAGE_ID.to_owned(),
    ));
    let mut documents = Vec::new();
    for (key, component) in &bom.components {
        if let Some((address, digest)) = &component.sbom {
            let id = format!("DocumentRef-{key}");
            relationships.insert(relate(
                id_of(key),
                "DESCRIBED_BY",
                format!("{id}:{DOCUMENT_ID}"),
            ));
            documents.push(ExternalDocument {
                external_document_id: id,
                checksum: checksum(digest.hex()),
                spdx_document: address.clone(),
            });
        }
    }
    let author = Some(party(&image.supplier)).filter(|it| it != UNKNOWN);
    let tool = format!("Tool: crateyard-{}", env!("CARGO_PKG_VERSION"));
    let texts = bom.license_texts.iter();
    Document {
        spdx_version: "SPDX-2.3".to_owned(),
        data_license: "CC0-1.0".to_owned(),
        spdx_id: DOCUMENT_ID.to_owned(),
        name: format!("{}-{}", image.name, image.version),
        document_namespace: format!(
            "https://github.com/crateyard/crateyard/spdx/{}/{}",
            image.name,
            bom.digest.hex()
        ),
        creation_info: CreationInfo {
            created: time::rfc3339(0),
            creators: author.into_iter().chain([tool]).collect(),
            comment: Some(
                "Made while the image was built, from what it was built from (generation context: \
                 build). The time is always the same, so that the bytes are."
                    .to_owned(),
            ),
        },
        external_document_refs: documents,
        packages: bom
            .components
            .iter()
            .map(|(key, it)| package(key, it))
            .collect(),
        relationships: relationships.into_iter().collect(),
        has_extracted_licensing_infos: texts
            .map(|(id, text)| ExtractedLicense {
                license_id: id.clone(),
                extracted_text: text.clone(),
            })
            .collect(),
    }
}

fn package(key: &str, component: &Component) -> Package {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| UNKNOWN.to_owned());
    let purpose = match component.kind {
        Kind::Container => "CONTAINER",
        Kind::Application | Kind::BuildTool => "APPLICATION",
        Kind::Library => "LIBRARY",
        Kind::File => "FILE",
    };
    let purl = component
        .purl
        .iter()
        .map(|purl| reference("PACKAGE-MANAGER", "purl", purl));
    let sha256 = component.sha256.iter().map(|hex| checksum(hex));
    let integrity = component.integrity.iter().map(|hash| Checksum {
        algorithm: format!("SHA{}", hash.number()),
        checksum_value: hash.hex.clone(),
    });
    let swhid = component
        .swhid
        .iter()
        .map(|id| reference("PERSISTENT-ID", "swh", id));
    Package {
        spdx_id: id_of(key),
        name: component.name.clone(),
        version_info: Some(component.version.clone()),
        download_location: known(&component.download),
        files_analyzed: false,
        primary_package_purpose: Some(purpose.to_owned()),
        package_file_name: component.path.clone(),
        supplier: Some(party(&component.supplier)),
        originator: component.authors.first().map(party),
        homepage: component.homepage.clone(),
        source_info: component.source.as_ref().map(|it| format!("{SOURCE}{it}")),
        comment: component.comment.clone(),
        checksums: sha256.chain(integrity).collect(),
        // Nobody has looked into the package, so the declared licence is the only basis for a
        // conclusion.
        license_concluded: known(&component.license),
        license_declared: known(&component.license),
        copyright_text: UNKNOWN.to_owned(),
        external_refs: purl.chain(swhid).collect(),
    }
}

fn relationship(from: &str, how: Relation, to: &str) -> Relationship {
    let (from, to) = (id_of(from), id_of(to));
    match how {
        Relation::Contains => relate(from, "CONTAINS", to),
        Relation::DependsOn => relate(from, "DEPENDS_ON", to),
        Relation::StaticLink => relate(from, "STATIC_LINK", to),
        Relation::DescendantOf => relate(from, "DESCENDANT_OF", to),
        Relation::BuiltBy => relate(to, "BUILD_TOOL_OF", from),
    }
}

fn relate(from: String, how: &str, to: String) -> Relationship {
    Relationship {
        spdx_element_id: from,
        relationship_type: how.to_owned(),
        related_spdx_element: to,
    }
}

fn party(party: &Party) -> String {
    if party.name.is_empty() {
        return UNKNOWN.to_owned();
    }
    let kind = if party.is_person {
        "Person"
    } else {
        "Organization"
    };
    match &party.address {
        Some(address) => format!("{kind}: {} ({address})", party.name),
        None => format!("{kind}: {}", party.name),
    }
}

fn id_of(key: &str) -> String {
    format!("SPDXRef-{key}")
}

fn checksum(hex: &str) -> Checksum {
    Checksum {
        algorithm: "SHA256".to_owned(),
        checksum_value: hex.to_owned(),
    }
}

fn reference(category: &str, kind: &str, locator: &str) -> ExternalRef {
    ExternalRef {
        reference_category: category.to_owned(),
        reference_type: kind.to_owned(),
        reference_locator: locator.to_owned(),
    }
}
