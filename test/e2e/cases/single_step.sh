$P/single_step
