#!/usr/bin/perl
# pfctl of a test's machine (machine.ts): hands arguments and standard input to the test's process, and prints what it answers.
# A whole Node.js for each of thousands of calls would take most of the tests' time.
use strict;
use warnings;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new(Peer => "$0.sock") or die "pfctl: the test has ended: $!\n";
my $input = "";
if (grep { $_ eq "-" } @ARGV) {
    local $/;
    $input = <STDIN>;
}
print $socket join("\0", @ARGV), "\1", $input;
$socket->flush;
$socket->shutdown(1);
my ($code, $length, $rest) = split /\n/, do { local $/; <$socket> }, 3;
print STDOUT substr($rest, 0, $length);
print STDERR substr($rest, $length);
exit $code;
