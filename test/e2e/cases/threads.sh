# timeout: 120
$P/threads64
