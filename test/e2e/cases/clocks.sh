$P/clocks
