<?php
// Reads the file for mail programs from its input as Horde's webmail does, for the address that is
// its argument: one line for each server that Horde would use.
error_reporting(E_ALL & ~E_DEPRECATED);
spl_autoload_register(function ($class) {
    require str_replace(['_', '\\'], '/', $class) . '.php';
});

$answer = new Horde_Http_Request_Mock();
$answer->setResponse(new Horde_Http_Response_Mock('', fopen('php://stdin', 'r')));
$reader = new Horde_Mail_Autoconfig_Driver_Thunderbird();
$reader->http = new Horde_Http_Client(['request' => $answer]);
$address = new Horde_Mail_Rfc822_Address($argv[1]);
$search = $argv[2] === 'outgoing' ? 'msaSearch' : 'mailSearch';
foreach ($reader->$search([$address->host], ['email' => $address]) ?: [] as $server) {
    $kind = strtolower(substr(strrchr(get_class($server), '_'), 1));
    echo implode(' ', [$kind, $server->host, $server->port, $server->tls ?: '-', $server->username]), "\n";
}
