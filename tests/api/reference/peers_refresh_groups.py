all_peers = hubnet.peers(["group1", "group2"], refresh=True)
