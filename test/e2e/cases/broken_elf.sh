$P/broken_elf
