# The templates of `nix flake init -t`. Each is a workspace with its flake.nix and images.toml, as
# `assemble init` writes them. `front-end` also hands over a part, which only its author can know
# of.
let
  templates = {
    service = {
      path = ./templates/service;
      description = "One service and its image";
    };
    services = {
      path = ./templates/services;
      description = "Several services that share a library, an image for each";
    };
    c-dependencies = {
      path = ./templates/c-dependencies;
      description = "A program that is compiled with a C library of Debian";
    };
    chart = {
      path = ./templates/chart;
      description = "A service whose image carries its Helm chart";
    };
    npm = {
      path = ./templates/npm;
      description = "A service that embeds a front end built by npm, and a tool of npm's";
    };
    variants = {
      path = ./templates/variants;
      description = "A service in fourteen images, each with another tool of npm's or the web";
    };
    front-end = {
      path = ./templates/front-end;
      description = "A service that embeds a front end";
    };
  };
in
templates // { default = templates.service; }
