# timeout: 200
$P/registers
