# What `nix flake init -t` offers. Each is a workspace whose flake.nix and images.toml are what
# `assemble init` writes for it.
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
  };
in
templates // { default = templates.service; }
