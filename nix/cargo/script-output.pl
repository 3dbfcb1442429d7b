# Writes what a build script says to its package's programs in Cargo's own words, as nextest reads it; see nextest.nix
# for the variables.
use strict;
use warnings;
use JSON::PP;

open my $file, '<:raw', $ENV{directives} or die "cannot read $ENV{directives}: $!";
my $directives = decode_json(join '', <$file>);
open my $output, '>:utf8', $ENV{out} or die "cannot write $ENV{out}: $!";
print $output "cargo::rustc-env=$_->[0]=$_->[1]\n" for @{ $directives->{env} };
close $output or die "cannot write $ENV{out}: $!";
