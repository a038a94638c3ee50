# timeout: 120
$P/faults
