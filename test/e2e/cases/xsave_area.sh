$P/xsave_area
