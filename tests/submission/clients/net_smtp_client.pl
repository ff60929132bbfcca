# Sends what stands on its standard input by Perl's Net::SMTP; told where by the environment.
use strict;
use warnings;
use Net::SMTP;

my %tls = (SSL_ca_file => $ENV{CA_FILE}, SSL_verifycn_name => 'localhost');
my $client = Net::SMTP->new('localhost', Port => $ENV{PORT}, Timeout => 20,
    SSL => $ENV{IMPLICIT} ? 1 : 0, %tls) or die "no connection: $@";
binmode STDIN;
my $message = do { local $/; <STDIN> };

sub must { $_[0] or die $client->code . ' ' . $client->message }
must($client->starttls(%tls)) unless $ENV{IMPLICIT};
must($client->auth($ENV{PRIMARY}, $ENV{PASSWORD}));
must($client->mail($ENV{PRIMARY}, Bits => 8));
must($client->to($ENV{RECIPIENT}));
must($client->data);
must($client->datasend($message));
must($client->dataend);
$client->quit;
