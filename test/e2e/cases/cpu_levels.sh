$P/cpu_level_v2
$P/cpu_level_v3
