"""`smap-train data convert`: public data sets in the form that training reads."""
