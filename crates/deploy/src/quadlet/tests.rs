use super::*;

#[test]
fn services_have_the_generators_names() {
    for (name, text, expected) in [
        ("a.container", "", Some("a.service")),
        ("a.kube", "", Some("a.service")),
        ("a.pod", "", Some("a-pod.service")),
        ("a.image", "", Some("a-image.service")),
        ("a.volume", "", Some("a-volume.service")),
        ("a.network", "", Some("a-network.service")),
        ("a.yaml", "", None),
        ("a.pod", "[Pod]\nServiceName=front\n", Some("front.service")),
        (
            "a.pod",
            "[Pod]\n# ServiceName=front\n",
            Some("a-pod.service"),
        ),
        (
            "a.container",
            "ServiceName = b\nServiceName=c",
            Some("c.service"),
        ),
        (
            "a.container",
            "ServiceName=b\nServiceName=\n",
            Some("a.service"),
        ),
        ("a@.container", "", Some("a@*.service")),
        ("a@b.container", "", Some("a@b.service")),
    ] {
        let service = Files::new(&[(name, text)]).service(name);
        assert_eq!(service.as_deref(), expected, "{name}: {text}");
    }
}

#[test]
fn a_file_is_read_by_those_that_name_it() {
    let all = Files::new(&[
        ("a.container", "[Container]\nImage=it.image\n"),
        ("b.container", "[Container]\nImage=other.image\n"),
        ("it.image", "[Image]\nImage=localhost/it\n"),
        ("p.kube", "[Kube]\nYaml=./play.yaml\nConfigMap=map.yaml\n"),
    ]);
    assert_eq!(all.services("it.image"), ["it-image.service", "a.service"]);
    assert_eq!(all.services("b.container"), ["b.service"]);
    assert_eq!(all.services("play.yaml"), ["p.service"]);
    assert_eq!(all.services("map.yaml"), ["p.service"]);
    assert!(all.services("it.yaml").is_empty());
}

#[test]
fn networks_and_volumes_are_read_by_those_that_use_them() {
    let all = Files::new(&[
        (
            "a.container",
            "[Container]\nNetwork=inner.network:ip=10.0.0.2\nVolume=data.volume:/d:ro\n",
        ),
        (
            "b.container",
            "[Container]\nNetwork=host\nMount=type=volume,source=data.volume,destination=/d\n",
        ),
        ("c.container", "[Container]\nNetwork=a.container\n"),
        ("p.pod", "[Pod]\nNetwork=other.network\nVolume=/d:/d\n"),
        ("inner.network", "[Network]\n"),
        ("data.volume", "[Volume]\n"),
    ]);
    assert_eq!(
        all.services("inner.network"),
        ["inner-network.service", "a.service"]
    );
    assert_eq!(
        all.services("data.volume"),
        ["data-volume.service", "a.service", "b.service"]
    );
    assert_eq!(all.services("a.container"), ["a.service", "c.service"]);
    assert_eq!(all.services("other.network"), ["p-pod.service"]);
}

#[test]
fn drop_ins_belong_to_their_units() {
    let all = Files::new(&[
        ("app-one.container", "[Container]\nImage=it.image\n"),
        (
            "app-one.container.d/20.conf",
            "[Container]\nServiceName=one\n",
        ),
        (
            "app-.container.d/20.conf",
            "[Container]\nServiceName=shadowed\n",
        ),
        (
            "app-.container.d/30.conf",
            "[Container]\nVolume=data.volume:/d\n",
        ),
        ("container.d/10.conf", "[Container]\nServiceName=first\n"),
        ("app-two.container", "[Container]\n"),
        ("other.container", "[Container]\n"),
        ("data.volume", "[Volume]\n"),
        ("data.volume.d/10.conf", "[Volume]\nVolumeName=kept\n"),
    ]);
    let services = |changed| all.services(changed);
    assert_eq!(services("app-one.container.d/20.conf"), ["one.service"]);
    assert_eq!(
        services("app-.container.d/30.conf"),
        ["one.service", "shadowed.service"]
    );
    assert_eq!(
        services("container.d/10.conf"),
        ["one.service", "shadowed.service", "first.service"]
    );
    let of_volume = ["data-volume.service", "one.service", "shadowed.service"];
    assert_eq!(services("data.volume"), of_volume);
    assert_eq!(services("data.volume.d/10.conf"), of_volume);
    let kept = Lasting {
        kind: "volume",
        name: "kept".to_owned(),
    };
    assert_eq!(all.lasting("data.volume.d/10.conf"), [kept]);
}

#[test]
fn networks_and_volumes_last_unless_the_unit_deletes_them() {
    for (name, text, expected) in [
        ("a.network", "", Some(("network", "systemd-a"))),
        ("a.network", "NetworkName=b", Some(("network", "b"))),
        ("a.network", "NetworkDeleteOnStop=True", None),
        (
            "a.network",
            "NetworkDeleteOnStop=no",
            Some(("network", "systemd-a")),
        ),
        ("a.volume", "", Some(("volume", "systemd-a"))),
        ("a.container", "", None),
    ] {
        let found = Files::new(&[(name, text)]).lasting(name);
        let found: Vec<_> = found.iter().map(|it| (it.kind, &*it.name)).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{text}");
    }
}
