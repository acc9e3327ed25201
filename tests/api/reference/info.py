friendly_information = hubnet.info(peer='somepeer')
