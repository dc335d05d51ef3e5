import { Button, Center } from "@mantine/core";
import { texts } from "../texts";

/** Loads the next page of a list; nothing at its end. */
export function ShowMore({ list }: { list: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => Promise<unknown> } }) {
  return (
    list.hasNextPage && (
      <Center mt="md">
        <Button variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>
          {texts.common.loadMore}
        </Button>
      </Center>
    )
  );
}
