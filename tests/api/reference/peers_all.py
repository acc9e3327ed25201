all_peers = hubnet.peers()
